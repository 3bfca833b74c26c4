/* The shape of a model, and the letters used for it in the whole tree.
 *   B, T, S   sequences, query positions, key positions      N  rows, B*T
 *   L, V      layers, vocabulary                             num_hidden_layers, vocab_size
 *   C, F      model width, feed-forward width                hidden_size, intermediate_size
 *   H, G      query heads, key/value heads (GQA)             num_attention_heads, num_key_value_heads
 *   D         head width of a GQA model                      head_dim
 *   Dn,Dr,Dv  MLA: no-position, rotary, value part of a head qk_nope_head_dim, qk_rope_head_dim, v_head_dim
 *   R, Rq     latent width of key/value, of query            kv_lora_rank, q_lora_rank (0: none)
 *
 * Shapes are written (B,T,H,Dn+Dr), slowest axis first; weights are (out,in) as in the checkpoint. */
#ifndef REMLA_MODEL_DIMS_H
#define REMLA_MODEL_DIMS_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum attention_kind { ATTENTION_GQA, ATTENTION_MLA } attention_kind;

/* Rotary frequencies: theta^(-2i/width), scaled as Llama 3 does when `llama3` is set (transformers'
 * modeling_rope_utils). */
typedef struct rope_settings {
    double theta;
    bool llama3;
    double factor, low_freq_factor, high_freq_factor, original_max_position;
} rope_settings;

typedef struct dims {
    attention_kind kind;
    int64_t L, V, C, F, H;
    int64_t G, D;                /* GQA */
    int64_t Dn, Dr, Dv, R, Rq;   /* MLA */
    bool latent_norm;            /* MLA: norms on the latents (kv_a_layernorm, and q_a_layernorm when Rq) */
    bool q_bias, k_bias, v_bias; /* GQA: biases of q_proj, k_proj, v_proj. MLA: q_bias on q_proj or q_b_proj,
                                    k_bias on kv_a_proj_with_mqa (TransMLA sets both together) */
    bool q_a_bias, o_bias;       /* MLA: biases of q_a_proj and o_proj. A stock DeepSeek model has them where
                                    it has k_bias (attention_bias), and never q_bias */
    bool tied;                   /* the head is the embedding */
    double norm_eps;             /* rms_norm_eps; latent norms use LATENT_NORM_EPS whatever it says */
    rope_settings rope;
    int64_t window; /* sliding_window that applies, 0: none; sequences must not be longer */
} dims;

/* Hard-wired in DeepSeek's and TransMLA's code. */
#define LATENT_NORM_EPS 1e-6

/* Inverse frequencies of a rotary part of `width` elements, width/2 values, in double. */
void rope_frequencies(const rope_settings *r, int64_t width, double *inverse_frequency);

/* Bytes of key/value cache a token needs over all layers, at 2 bytes an element: 2*G*D or R+Dr elements a
 * layer. */
int64_t kv_bytes_per_token(const dims *d);

/* Checks that the model takes sequences of T tokens. ERR_USAGE names the option `key` that says T when they
 * are longer than a sliding window. */
status dims_check_length(const dims *d, const char *key, int64_t T, message *why);

#endif
