/* The typed table through which model, optim and train compute. ops.def documents every entry. */
#ifndef REMLA_KERNELS_KERNELS_H
#define REMLA_KERNELS_KERNELS_H
#include "base/status.h"
#include "base/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct stream stream; /* a queue of a device; NULL on the CPU, whose ops are done on return */
typedef struct device device; /* a GPU; NULL: the CPU and host memory */

/* An activation, a weight or a gradient that a linear layer multiplies, borrowed for the call. It has a type
 * of its own so that an 8-bit copy of the tensor and its scale find a place beside it, and no op changes. */
typedef struct operand {
    const tensor *value;
} operand;

static inline operand operand_of(const tensor *value)
{
    operand o;
    o.value = value;
    return o;
}

typedef enum rope_layout { ROPE_HALVES, ROPE_PAIRS } rope_layout;

typedef struct adamw_scalars {
    double rate, beta1, beta2, eps, decay;
    int64_t step; /* from 1 */
} adamw_scalars;

/* One tensor of one layer's keys or values, of many sequences: a row for each position, in pages. */
typedef struct cached {
    tensor rows;  /* (pages*page, width): the table's real, BF16 or F8; contiguous */
    tensor scale; /* F8: (pages*page) f32, what the elements of a row are multiplied by; else rank 0 */
} cached;

/* Which rows of a pass belong to which sequence, and where each sequence's positions lie. Host numbers, and
 * contiguous tensors that the table can read. */
typedef struct ragged {
    int64_t N, sequences;
    int64_t page;    /* positions of a page */
    int64_t longest; /* the largest of `length` */
    tensor start;  /* (sequences+1) i32: rows start[i] to start[i+1]-1 belong to sequence i; start[0] is 0 */
    tensor length; /* (sequences) i32: its positions, the rows of this pass being the last of them: row r is
                      at position length[i] - (start[i+1] - r) */
    tensor table;  /* (sequences, most) i32: position p is row table[i][p/page]*page + p%page of `cached` */
    tensor slot;   /* (N) i32: the row of `cached` of each row's own position */
} ragged;

#ifndef __cplusplus /* C++ calls the ops by their own names: "stream" cannot be a type and a member there */
typedef struct ops {
    const char *name; /* "cpu f32" */
    dtype act;        /* activations, their gradients, and the weights that ops read */
    dtype real; /* statistics of rows, gradients of weights, master weights and moments: never a half type */
    int64_t head_rows;     /* the head's ops want at least so many rows at a time (model/activations.c) */
    device *device;        /* where this table's tensors live */
    stream *stream;        /* the last argument of every op */
    const char *attention; /* how a device computes attention, a word of device.attention; NULL on the CPU */
#define OP(op, params) void(*op) params;
#include "kernels/ops.def"
#undef OP
} ops;

/* On a device every chunk of the head reads and writes the gradient of the whole head. */
enum { HEAD_ROWS_CPU = 1, HEAD_ROWS_DEVICE = 1024 };

/* A table without ops, of the CPU or of a device that need not be there: memory can be laid out with it on
 * measuring arenas (base/arena.h), and nothing computed. */
static inline ops ops_for_layout(dtype act, dtype real, bool of_device)
{
    return (ops){.name = "layout",
                 .act = act,
                 .real = real,
                 .head_rows = of_device ? HEAD_ROWS_DEVICE : HEAD_ROWS_CPU};
}
#endif

const struct ops *ops_cpu_f32(void);
const struct ops *ops_cpu_f64(void); /* the oracle: the same C, compiled for double */

/* Chooses how a device computes attention. */
typedef enum attention_choice {
    ATTENTION_AUTO, /* cuDNN where it can, else flash, else unfused */
    ATTENTION_CUDNN,
    ATTENTION_FLASH,   /* the project's own kernels */
    ATTENTION_UNFUSED, /* matrix products and softmax: slow, the cross-check of the others */
} attention_choice;

/* The table of a device, for activations in F32 or BF16. The caller frees it. A program that was built
 * without CUDA has no device, and so never calls this. */
struct ops *ops_cuda(device *d, dtype act, attention_choice attention);
void ops_cuda_free(struct ops *k);

/* The shape of a call of attention, in the letters of ops.def. S > T is forward only. */
typedef struct attention_shape {
    int64_t B, T, S, H, G, D, Dv;
    bool aligned; /* rows of all tensors start at multiples of 16 bytes, as in models of usual widths */
    bool named;   /* the user chose the implementation: one that does not repeat bit for bit may be used */
} attention_shape;

/* Chooses the implementation for a shape on tables of `act`: the one that `asked` names, or with AUTO the
 * first that can. *why gets a sentence for the log: which, and why. ERR_USAGE, with the reason in *why, when
 * the named one cannot (its ops would stop the job); AUTO finds none only where a row of scores does not fit
 * the device's workspace. */
status attention_pick(attention_choice asked, device *d, dtype act, const attention_shape *shape,
                      attention_choice *picked, message *why);

#ifdef __cplusplus
}
#endif
#endif
