/* The op attention on a GPU: the list of its implementations, and the choice among them for a shape. The
 * order of attention_choice is the order of preference; an implementation says of a shape that it can, or why
 * not. A table has a named implementation in the op's place, or, with ATTENTION_AUTO, functions that choose
 * at every call. */
#include "kernels/cuda/attention.h"
#include "base/cuda/cuda.h"
#include <stdio.h>
#include <string.h>

enum { CHOICES = ATTENTION_UNFUSED + 1, STORAGES = 2 /* f32, bf16 */ };

static const struct implementation {
    const char *name; /* as in the option device.attention */
    struct {
        status(*supports) ATTENTION_SUPPORTS; /* NULL: not this storage */
        void(*forward) ATTENTION_FORWARD;
        void(*backward) ATTENTION_BACKWARD;
    } storage[STORAGES];
} implementations[CHOICES] = {
#define BOTH(name)                                                                                           \
    {                                                                                                        \
        {name##_supports_cuda_f32, name##_forward_cuda_f32, name##_backward_cuda_f32},                       \
        {                                                                                                    \
            name##_supports_cuda_bf16, name##_forward_cuda_bf16, name##_backward_cuda_bf16                   \
        }                                                                                                    \
    }
    [ATTENTION_CUDNN] = {"cudnn",
                         {[1] = {attention_cudnn_supports_cuda_bf16, attention_cudnn_forward_cuda_bf16,
                                 attention_cudnn_backward_cuda_bf16}}},
    [ATTENTION_FLASH] = {"flash", BOTH(attention_flash)},
    [ATTENTION_UNFUSED] = {"unfused", BOTH(attention_unfused)},
};

static int index_of(dtype act) { return act == BF16; }

static status supports(attention_choice choice, stream *s, dtype act, const attention_shape *shape,
                       message *why)
{
    const struct implementation *i = &implementations[choice];
    if (!i->storage[index_of(act)].supports)
        return fail(why, ERR_USAGE, "it does not do %s", dtype_name(act));
    return i->storage[index_of(act)].supports(s, shape, why);
}

/* The first that can; *passed gets the reasons of those that cannot. ATTENTION_AUTO: none. */
static attention_choice first_of(stream *s, dtype act, const attention_shape *shape, message *passed)
{
    size_t used = 0;
    passed->text[0] = '\0';
    for (int choice = ATTENTION_AUTO + 1; choice < CHOICES; choice++) {
        message reason;
        if (supports((attention_choice)choice, s, act, shape, &reason) == OK) return (attention_choice)choice;
        used += (size_t)snprintf(passed->text + used, sizeof passed->text - used, "%s%s: %s",
                                 used ? "; " : "", implementations[choice].name, reason.text);
        if (used >= sizeof passed->text) used = sizeof passed->text - 1;
    }
    return ATTENTION_AUTO;
}

static const char *shape_text(char *text, size_t size, dtype act, const attention_shape *x)
{
    char past[32] = "";
    if (x->S > x->T) snprintf(past, sizeof past, " behind %lld", (long long)(x->S - x->T));
    snprintf(text, size, "%lld positions%s, %lld query and %lld key heads of %lld and values of %lld in %s",
             (long long)x->T, past, (long long)x->H, (long long)x->G, (long long)x->D, (long long)x->Dv,
             dtype_name(act));
    return text;
}

status attention_pick(attention_choice asked, device *d, dtype act, const attention_shape *shape,
                      attention_choice *picked, message *why)
{
    stream *s = device_stream(d);
    char text[160];
    message reason;
    shape_text(text, sizeof text, act, shape);
    if (asked == ATTENTION_AUTO) {
        *picked = first_of(s, act, shape, &reason);
        if (*picked == ATTENTION_AUTO)
            return fail(why, ERR_USAGE, "no implementation of attention does %s (%.700s)", text, reason.text);
        snprintf(why->text, sizeof why->text, "attention: %s, for %s%s%.700s%s",
                 implementations[*picked].name, text, reason.text[0] ? " (not " : "", reason.text,
                 reason.text[0] ? ")" : "");
        return OK;
    }
    attention_shape by_name = *shape;
    by_name.named = true;
    *picked = asked;
    if (supports(asked, s, act, &by_name, &reason) != OK)
        return fail(why, ERR_USAGE, "device.attention=%s does not do %s: %.700s", implementations[asked].name,
                    text, reason.text);
    snprintf(why->text, sizeof why->text, "attention: %s, as asked, for %s", implementations[asked].name,
             text);
    return OK;
}

/* ---- the op with ATTENTION_AUTO ------------------------------------------------------------------------ */

static bool aligned(int count, const tensor *const *t)
{
    for (int i = 0; i < count; i++) {
        const int64_t unit = 16 / dtype_bytes(t[i]->type);
        if ((uintptr_t)t[i]->data % 16) return false;
        for (int axis = 0; axis < t[i]->rank - 1; axis++)
            if (t[i]->dim[axis] > 1 && t[i]->stride[axis] % unit) return false;
    }
    return true;
}

static const struct implementation *implementation_of(const tensor *q, const tensor *k, const tensor *v,
                                                      bool whole_vectors, stream *s)
{
    const attention_shape shape = {.B = q->dim[0],
                                   .T = q->dim[1],
                                   .S = k->dim[1],
                                   .H = q->dim[2],
                                   .G = k->dim[2],
                                   .D = q->dim[3],
                                   .Dv = v->dim[3],
                                   .aligned = whole_vectors};
    message why;
    const attention_choice choice = first_of(s, q->type, &shape, &why);
    char text[160];
    if (choice == ATTENTION_AUTO)
        die(ERR_DEVICE, "no implementation of attention does %s (%s)",
            shape_text(text, sizeof text, q->type, &shape), why.text);
    return &implementations[choice];
}

static void forward(tensor *out, tensor *lse, const tensor *q, const tensor *k, const tensor *v,
                    const tensor *first, double scale, stream *s)
{
    const bool whole = aligned(4, (const tensor *const[]){out, q, k, v});
    implementation_of(q, k, v, whole, s)
        ->storage[index_of(q->type)]
        .forward(out, lse, q, k, v, first, scale, s);
}

static void backward(tensor *dq, tensor *dk, tensor *dv, const tensor *dout, const tensor *out,
                     const tensor *lse, const tensor *q, const tensor *k, const tensor *v,
                     const tensor *first, double scale, stream *s)
{
    const bool whole = aligned(8, (const tensor *const[]){dq, dk, dv, dout, out, q, k, v});
    implementation_of(q, k, v, whole, s)
        ->storage[index_of(q->type)]
        .backward(dq, dk, dv, dout, out, lse, q, k, v, first, scale, s);
}

void attention_forward_cuda_f32 ATTENTION_FORWARD { forward(out, lse, q, k, v, first, scale, s); }
void attention_forward_cuda_bf16 ATTENTION_FORWARD { forward(out, lse, q, k, v, first, scale, s); }
void attention_backward_cuda_f32 ATTENTION_BACKWARD
{
    backward(dq, dk, dv, dout, out, lse, q, k, v, first, scale, s);
}
void attention_backward_cuda_bf16 ATTENTION_BACKWARD
{
    backward(dq, dk, dv, dout, out, lse, q, k, v, first, scale, s);
}

void attention_use(ops *table, attention_choice choice)
{
    table->attention = choice == ATTENTION_AUTO ? "auto" : implementations[choice].name;
    if (choice == ATTENTION_AUTO) return;
    table->attention_forward = implementations[choice].storage[index_of(table->act)].forward;
    table->attention_backward = implementations[choice].storage[index_of(table->act)].backward;
}
