/* kernels.h: the arithmetic of networks of 8-bit integers.

   A number is stored as a byte: number = scale * (byte - zero). A map of height x width x channels lies row by row,
   the channels of a pixel side by side, so that the innermost loops run over what is contiguous. Sums of products are
   exact integers of 32 bits; they become bytes again, or the network's answers, by one float factor an output channel.
   Rounding is to the nearest, halves to even, which is what ONNX Runtime does. Nothing is allocated. */

#ifndef NETWORK_KERNELS_H
#define NETWORK_KERNELS_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "Compile without -ffast-math: rounding to the nearest byte relies on float arithmetic as it is written."
#endif

/* Sums, and factors of sums, that are worked on at a time, on the stack. */
enum { BLOCK = 64, RUN = 128 };

struct map {
    int height, width, channels;
};

//@ rounding
/* The nearest whole number, halves to the even one: beside 1.5 * 2^23 a float has no room for a fraction. */
static inline float nearest(float x)
{
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
    return (x + 12582912.0f) - 12582912.0f;
#else
    return rintf(x);
#endif
}

/* The number, or the nearest one that is allowed. */
static inline float within(float x, float low, float high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}

/* The byte that lies so many steps from zero, or the nearest that is allowed. */
static inline uint8_t to_byte(float steps, int zero, int lowest, int highest)
{
    return (uint8_t)((int)nearest(within(steps, (float)(lowest - zero), (float)(highest - zero))) + zero);
}

//@ product: rounding
/* A layer with weights: a convolution, or a fully connected layer, which is one on a map of one pixel. */
struct product {
    struct map from, to;
    int kernel[2], stride[2], before[2], dilation[2]; /* rows, columns; `before`: of padding above and to the left */
    int groups;
    const int8_t *weights;
    const int32_t *bias;         /* an output channel; holds what the zero of the input adds */
    const float *scale;          /* an output channel: steps of the output for one of the sum */
    const int32_t *weight_zeros; /* an output channel; none where all are 0 */
    const uint8_t *padding;      /* a pixel outside of the map: the input's zero, for each channel */
    int zero, lowest, highest;   /* of the output */
};

/* What weights are multiplied with: bytes as they are, or as wide as the products where a processor's vectors lack an
   instruction for bytes of two signs and have one that multiplies 16 bits and adds the products in pairs. */
#if (defined(__SSE2__) && !defined(__AVX512VNNI__) && !defined(__AVXVNNI__)) || \
    (defined(__ARM_NEON) && !defined(__ARM_FEATURE_MATMUL_INT8))
typedef int16_t factor;
#else
typedef uint8_t factor;
#endif

/* Add to each of `count` sums the products of `n` factors with a row of weights; four rows use one that is loaded. */
static inline void add_rows(const factor *in, const int8_t *weights, int n, int row, int count, int32_t *sums)
{
    for (; count >= 4; count -= 4, weights += 4 * (ptrdiff_t)row, sums += 4) {
        const int8_t *w0 = weights, *w1 = w0 + row, *w2 = w1 + row, *w3 = w2 + row;
        int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
        for (int i = 0; i < n; i++) {
            const factor x = in[i];
            s0 += x * w0[i];
            s1 += x * w1[i];
            s2 += x * w2[i];
            s3 += x * w3[i];
        }
        sums[0] = s0;
        sums[1] = s1;
        sums[2] = s2;
        sums[3] = s3;
    }
    for (; count > 0; count--, weights += row, sums++) {
        int32_t sum = *sums;
        for (int i = 0; i < n; i++)
            sum += in[i] * weights[i];
        *sums = sum;
    }
}

/* The same with `n` bytes, which become factors once for all rows. */
static inline void add_products(const uint8_t *in, const int8_t *weights, int n, int row, int count, int32_t *sums)
{
    if (sizeof(factor) == sizeof *in) {
        add_rows((const factor *)in, weights, n, row, count, sums);
        return;
    }
    for (int first = 0; first < n; first += RUN) {
        const int many = n - first < RUN ? n - first : RUN;
        factor wide[RUN];
        for (int i = 0; i < many; i++)
            wide[i] = in[first + i];
        add_rows(wide, weights + first, many, row, count, sums);
    }
}

/* Take from each sum what weights add whose zero is not 0: that zero times the sum of the bytes. */
static inline void take_zeros(const struct product *p, const uint8_t *in, int n, int channel, int count, int32_t *sums)
{
    int32_t total = 0;
    for (int i = 0; i < n; i++)
        total += in[i];
    for (int k = 0; k < count; k++)
        sums[k] -= p->weight_zeros[channel + k] * total;
}

/* Store sums as bytes. In two loops, as a compiler that knows the limits would else branch on each number. */
static inline void to_bytes(const struct product *p, const int32_t *restrict sums, int channel, int count,
                            uint8_t *restrict out)
{
    const float *scale = p->scale + channel, low = (float)(p->lowest - p->zero), high = (float)(p->highest - p->zero);
    const int zero = p->zero;
    float steps[BLOCK];
    for (int k = 0; k < count; k++)
        steps[k] = within((float)sums[k] * scale[k], low, high);
    for (int k = 0; k < count; k++)
        out[k] = (uint8_t)((int)nearest(steps[k]) + zero);
}

/* Store the sums of a place's channels: as bytes in `out`, or without one as answers, which lie channel by channel. */
static inline void finish(const struct product *p, const int32_t *sums, int channel, int count, int place,
                          uint8_t *out, float *answers)
{
    const int places = p->to.height * p->to.width;
    if (out)
        to_bytes(p, sums, channel, count, out + place * p->to.channels + channel);
    else
        for (int k = 0; k < count; k++)
            answers[(channel + k) * places + place] = (float)sums[k] * p->scale[channel + k];
}

//@ pointwise: product
/* A convolution with a kernel of 1 x 1, or a fully connected layer. Weights: output x input channels. */
static inline void pointwise(const struct product *p, const uint8_t *in, uint8_t *out, float *answers)
{
    const int depth = p->from.channels, many = p->to.channels;
    for (int y = 0; y < p->to.height; y++)
        for (int x = 0; x < p->to.width; x++) {
            const uint8_t *pixel = in + (y * p->stride[0] * p->from.width + x * p->stride[1]) * depth;
            for (int first = 0; first < many; first += BLOCK) {
                const int count = many - first < BLOCK ? many - first : BLOCK;
                int32_t sums[BLOCK];
                memcpy(sums, p->bias + first, (size_t)count * sizeof *sums);
                add_products(pixel, p->weights + (ptrdiff_t)first * depth, depth, depth, count, sums);
                if (p->weight_zeros)
                    take_zeros(p, pixel, depth, first, count, sums);
                finish(p, sums, first, count, y * p->to.width + x, out, answers);
            }
        }
}

//@ convolve: product
/* Add what the windows' pixels give to `count` output channels from `channel` on, at one place of the output. */
static inline void add_window(const struct product *p, const uint8_t *in, int y, int x, int group, int channel,
                              int count, int32_t *sums)
{
    const int all = p->from.channels, depth = all / p->groups, wide = p->kernel[1];
    const int row = p->kernel[0] * wide * depth, left = x * p->stride[1] - p->before[1];
    const int run = p->groups == 1 && p->dilation[1] == 1 && left >= 0 && left + wide <= p->from.width;
    const int8_t *weights = p->weights + (ptrdiff_t)channel * row;
    for (int ky = 0; ky < p->kernel[0]; ky++) {
        const int from_y = y * p->stride[0] - p->before[0] + ky * p->dilation[0];
        const int inside = from_y >= 0 && from_y < p->from.height;
        const int steps = run && inside ? 1 : wide; /* pixels that lie side by side are taken in one go */
        for (int kx = 0; kx < steps; kx++) {
            const int from_x = left + kx * p->dilation[1];
            const int there = inside && from_x >= 0 && from_x < p->from.width;
            const uint8_t *pixel = there ? in + (from_y * p->from.width + from_x) * all + group * depth : p->padding;
            const int n = depth * (wide / steps);
            add_products(pixel, weights, n, row, count, sums);
            if (p->weight_zeros)
                take_zeros(p, pixel, n, channel, count, sums);
            weights += n;
        }
    }
}

/* A convolution. Weights: output channels x kernel rows x kernel columns x input channels of the group. */
static inline void convolve(const struct product *p, const uint8_t *in, uint8_t *out, float *answers)
{
    const int many = p->to.channels / p->groups;
    for (int y = 0; y < p->to.height; y++)
        for (int x = 0; x < p->to.width; x++)
            for (int group = 0; group < p->groups; group++)
                for (int first = 0; first < many; first += BLOCK) {
                    const int count = many - first < BLOCK ? many - first : BLOCK, channel = group * many + first;
                    int32_t sums[BLOCK];
                    memcpy(sums, p->bias + channel, (size_t)count * sizeof *sums);
                    add_window(p, in, y, x, group, channel, count, sums);
                    finish(p, sums, channel, count, y * p->to.width + x, out, answers);
                }
}

//@ depthwise_3x3: product
/* The sums of `count` channels of nine pixels, from channel `first` on. A product of two bytes fits into 16 bits. */
static inline void nine_taps(const struct product *p, const uint8_t *const *tap, int first, int count,
                             int32_t *restrict sums)
{
    const int all = p->from.channels;
    const uint8_t *a = tap[0] + first, *b = tap[1] + first, *c = tap[2] + first, *d = tap[3] + first;
    const uint8_t *e = tap[4] + first, *f = tap[5] + first, *g = tap[6] + first, *h = tap[7] + first;
    const uint8_t *i = tap[8] + first;
    const int8_t *w = p->weights + first;
    const int32_t *bias = p->bias + first;
    for (int k = 0; k < count; k++)
        sums[k] = bias[k] + (int16_t)(a[k] * w[k]) + (int16_t)(b[k] * w[all + k]) +
                  (int16_t)(c[k] * w[2 * all + k]) + (int16_t)(d[k] * w[3 * all + k]) +
                  (int16_t)(e[k] * w[4 * all + k]) + (int16_t)(f[k] * w[5 * all + k]) +
                  (int16_t)(g[k] * w[6 * all + k]) + (int16_t)(h[k] * w[7 * all + k]) +
                  (int16_t)(i[k] * w[8 * all + k]);
}

/* A convolution of 3 x 3 of each channel with itself. Weights: kernel rows x kernel columns x channels. */
static inline void depthwise_3x3(const struct product *p, const uint8_t *in, uint8_t *out)
{
    const int all = p->from.channels;
    for (int y = 0; y < p->to.height; y++)
        for (int x = 0; x < p->to.width; x++, out += all) {
            const uint8_t *tap[9];
            for (int k = 0; k < 9; k++) {
                const int from_y = y * p->stride[0] - p->before[0] + k / 3 * p->dilation[0];
                const int from_x = x * p->stride[1] - p->before[1] + k % 3 * p->dilation[1];
                const int there = from_y >= 0 && from_y < p->from.height && from_x >= 0 && from_x < p->from.width;
                tap[k] = there ? in + (from_y * p->from.width + from_x) * all : p->padding;
            }
            for (int first = 0; first < all; first += BLOCK) {
                const int count = all - first < BLOCK ? all - first : BLOCK;
                int32_t sums[BLOCK];
                nine_taps(p, tap, first, count, sums);
                to_bytes(p, sums, first, count, out + first);
            }
        }
}

//@ depthwise: product
/* A convolution of each channel with itself. Weights: kernel rows x kernel columns x channels. */
static inline void depthwise(const struct product *p, const uint8_t *in, uint8_t *out, float *answers)
{
    const int all = p->from.channels, taps = p->kernel[0] * p->kernel[1];
    for (int y = 0; y < p->to.height; y++)
        for (int x = 0; x < p->to.width; x++)
            for (int first = 0; first < all; first += BLOCK) {
                const int count = all - first < BLOCK ? all - first : BLOCK;
                int32_t sums[BLOCK];
                memcpy(sums, p->bias + first, (size_t)count * sizeof *sums);
                for (int tap = 0; tap < taps; tap++) {
                    const int from_y = y * p->stride[0] - p->before[0] + tap / p->kernel[1] * p->dilation[0];
                    const int from_x = x * p->stride[1] - p->before[1] + tap % p->kernel[1] * p->dilation[1];
                    const int there = from_y >= 0 && from_y < p->from.height && from_x >= 0 && from_x < p->from.width;
                    const uint8_t *pixel = there ? in + (from_y * p->from.width + from_x) * all : p->padding;
                    const int8_t *weights = p->weights + tap * all + first;
                    for (int k = 0; k < count; k++)
                        sums[k] += pixel[first + k] * (weights[k] - (p->weight_zeros ? p->weight_zeros[first + k] : 0));
                }
                finish(p, sums, first, count, y * p->to.width + x, out, answers);
            }
}

//@ convolve_floats: rounding
/* A layer that is left in float. It reads floats or bytes, and gives bytes, floats or answers. */
struct float_product {
    struct map from, to;
    int kernel[2], stride[2], before[2], dilation[2]; /* rows, columns; `before`: of padding above and to the left */
    int groups, place_step, channel_step;             /* from one place of the input to the next, and to its next channel */
    const float *weights, *bias;
    float low, high;       /* where results are cut */
    const float *numbers;  /* what each byte of the input stands for, where it is bytes */
    float scale;           /* of the output's bytes */
    int zero;
};

/* One output. Weights: output channels x kernel rows x kernel columns x input channels of the group. */
static inline float float_sum(const struct float_product *p, const float *floats, const uint8_t *bytes, int y, int x,
                              int channel)
{
    const int depth = p->from.channels / p->groups, first = channel / (p->to.channels / p->groups) * depth;
    const float *weights = p->weights + (ptrdiff_t)channel * p->kernel[0] * p->kernel[1] * depth;
    float sum = 0.0f;
    for (int tap = 0; tap < p->kernel[0] * p->kernel[1]; tap++, weights += depth) {
        const int from_y = y * p->stride[0] - p->before[0] + tap / p->kernel[1] * p->dilation[0];
        const int from_x = x * p->stride[1] - p->before[1] + tap % p->kernel[1] * p->dilation[1];
        if (from_y < 0 || from_y >= p->from.height || from_x < 0 || from_x >= p->from.width)
            continue;
        const int place = (from_y * p->from.width + from_x) * p->place_step;
        for (int k = 0; k < depth; k++) {
            const int at = place + (first + k) * p->channel_step;
            sum += (bytes ? p->numbers[bytes[at]] : floats[at]) * weights[k];
        }
    }
    return within(sum + p->bias[channel], p->low, p->high);
}

/* A convolution or a fully connected layer in float. Answers lie channel by channel, maps pixel by pixel. */
static inline void convolve_floats(const struct float_product *p, const float *in_floats, const uint8_t *in_bytes,
                            uint8_t *out_bytes, float *out_floats, float *answers)
{
    const int places = p->to.height * p->to.width, all = p->to.channels;
    for (int y = 0; y < p->to.height; y++)
        for (int x = 0; x < p->to.width; x++)
            for (int channel = 0; channel < all; channel++) {
                const float sum = float_sum(p, in_floats, in_bytes, y, x, channel);
                const int place = y * p->to.width + x;
                if (out_bytes)
                    out_bytes[place * all + channel] = to_byte(sum / p->scale, p->zero, 0, 255);
                else if (out_floats)
                    out_floats[place * all + channel] = sum;
                else
                    answers[channel * places + place] = sum;
            }
}

//@ quantize: rounding
/* The network's input, which lies channel by channel, as a map of bytes. */
static inline void quantize(struct map map, float scale, int zero, const float *input, uint8_t *out)
{
    const int places = map.height * map.width;
    for (int place = 0; place < places; place++)
        for (int k = 0; k < map.channels; k++)
            *out++ = to_byte(input[k * places + place] / scale, zero, 0, 255);
}

//@ look_up
/* A function of single numbers, told for each of the 256 bytes. `out` may be `in`. */
static inline void look_up(int count, const uint8_t *table, const uint8_t *in, uint8_t *out)
{
    for (int i = 0; i < count; i++)
        out[i] = table[in[i]];
}

//@ look_up_answers
/* The same with numbers for answers, which lie channel by channel. */
static inline void look_up_answers(struct map map, const float *table, const uint8_t *in, float *answers)
{
    const int places = map.height * map.width;
    for (int place = 0; place < places; place++)
        for (int k = 0; k < map.channels; k++)
            answers[k * places + place] = table[*in++];
}

//@ window
/* Where a pooling looks. */
struct window {
    struct map from, to;
    int kernel[2], stride[2], before[2], dilation[2]; /* rows, columns; `before`: of padding above and to the left */
};

//@ max_pool: window
/* The largest byte of each window, whose places outside of the map do not count. */
static inline void max_pool(const struct window *p, const uint8_t *in, uint8_t *out)
{
    const int all = p->from.channels;
    for (int y = 0; y < p->to.height; y++)
        for (int x = 0; x < p->to.width; x++, out += all) {
            memset(out, 0, (size_t)all);
            for (int tap = 0; tap < p->kernel[0] * p->kernel[1]; tap++) {
                const int from_y = y * p->stride[0] - p->before[0] + tap / p->kernel[1] * p->dilation[0];
                const int from_x = x * p->stride[1] - p->before[1] + tap % p->kernel[1] * p->dilation[1];
                if (from_y < 0 || from_y >= p->from.height || from_x < 0 || from_x >= p->from.width)
                    continue;
                const uint8_t *pixel = in + (from_y * p->from.width + from_x) * all;
                for (int k = 0; k < all; k++)
                    out[k] = out[k] > pixel[k] ? out[k] : pixel[k];
            }
        }
}

//@ average_pool: window, rounding
/* The mean of each window in floats, of all of it or of what lies inside of the map. */
static inline void average_pool(const struct window *p, int whole, float from_scale, int from_zero, float scale, int zero,
                         const uint8_t *in, uint8_t *out)
{
    const int all = p->from.channels;
    for (int y = 0; y < p->to.height; y++)
        for (int x = 0; x < p->to.width; x++)
            for (int k = 0; k < all; k++) {
                float sum = 0.0f;
                int count = 0;
                for (int tap = 0; tap < p->kernel[0] * p->kernel[1]; tap++) {
                    const int from_y = y * p->stride[0] - p->before[0] + tap / p->kernel[1] * p->dilation[0];
                    const int from_x = x * p->stride[1] - p->before[1] + tap % p->kernel[1] * p->dilation[1];
                    if (from_y < 0 || from_y >= p->from.height || from_x < 0 || from_x >= p->from.width)
                        continue;
                    sum += from_scale * (float)(in[(from_y * p->from.width + from_x) * all + k] - from_zero);
                    count++;
                }
                sum /= (float)(whole ? p->kernel[0] * p->kernel[1] : count);
                *out++ = to_byte(sum / scale + (float)zero, 0, 0, 255);
            }
}

//@ mean: rounding
/* The mean of each channel over the whole map: bytes, or answers. */
static inline void mean(struct map map, int from_zero, float scale, int zero, const uint8_t *in, uint8_t *out, float *answers)
{
    const int places = map.height * map.width;
    for (int k = 0; k < map.channels; k++) {
        int32_t sum = -from_zero * places;
        for (int place = 0; place < places; place++)
            sum += in[place * map.channels + k];
        if (out)
            out[k] = to_byte((float)sum * scale, zero, 0, 255);
        else
            answers[k] = (float)sum * scale;
    }
}

//@ add: rounding
/* a * b + c, rounded once where the machine does that as fast. */
static inline float times_plus(float a, float b, float c)
{
#ifdef FP_FAST_FMAF
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* The sum of two maps: `fixed` holds the zeros, and a map whose step is 0 is one pixel for all places. */
static inline void add(int places, int channels, float fixed, const uint8_t *a, int a_step, float a_scale, const uint8_t *b,
                int b_step, float b_scale, uint8_t *restrict out)
{
    for (int place = 0; place < places; place++, a += a_step, b += b_step, out += channels)
        for (int k = 0; k < channels; k++)
            out[k] = to_byte(times_plus((float)b[k], b_scale, times_plus((float)a[k], a_scale, fixed)), 0, 0, 255);
}

//@ multiply: rounding
/* The product of two maps; a map whose step is 0 is one pixel for all places. */
static inline void multiply(int places, int channels, float scale, int zero, const uint8_t *a, int a_step, int a_zero,
                     const uint8_t *b, int b_step, int b_zero, uint8_t *out)
{
    for (int place = 0; place < places; place++, a += a_step, b += b_step, out += channels)
        for (int k = 0; k < channels; k++)
            out[k] = to_byte((float)((a[k] - a_zero) * (b[k] - b_zero)) * scale, zero, 0, 255);
}

//@ copy_runs
/* Copy `count` runs of `run` bytes, which lie `in_step` and `out_step` bytes apart: parts of maps, put side by side. */
static inline void copy_runs(int count, int run, const uint8_t *in, int in_step, uint8_t *out, int out_step)
{
    for (int i = 0; i < count; i++)
        memcpy(out + (ptrdiff_t)i * out_step, in + (ptrdiff_t)i * in_step, (size_t)run);
}

//@ look_up_runs
/* The same with other steps: a byte of the one map told for each of the other. */
static inline void look_up_runs(int count, int run, const uint8_t *table, const uint8_t *in, int in_step, uint8_t *out,
                         int out_step)
{
    for (int i = 0; i < count; i++)
        for (int k = 0; k < run; k++)
            out[(ptrdiff_t)i * out_step + k] = table[in[(ptrdiff_t)i * in_step + k]];
}

//@ enlarge
/* Each pixel so many times below and beside itself. */
static inline void enlarge(struct map from, int down, int across, const uint8_t *in, uint8_t *out)
{
    for (int y = 0; y < from.height * down; y++)
        for (int x = 0; x < from.width * across; x++, out += from.channels)
            memcpy(out, in + (y / down * from.width + x / across) * from.channels, (size_t)from.channels);
}

//@ by_channel
/* The order of a vector that is made of a map: channel by channel. */
static inline void by_channel(struct map map, const uint8_t *in, uint8_t *out)
{
    const int places = map.height * map.width;
    for (int k = 0; k < map.channels; k++)
        for (int place = 0; place < places; place++)
            *out++ = in[place * map.channels + k];
}

//@ clamp_answers
/* Answers below `low` become `low`, and those above `high` become `high`. */
static inline void clamp_answers(int count, float low, float high, float *answers)
{
    for (int i = 0; i < count; i++) {
        answers[i] = answers[i] > low ? answers[i] : low;
        answers[i] = answers[i] < high ? answers[i] : high;
    }
}

//@ sigmoid_answers
/* Each answer as a probability. */
static inline void sigmoid_answers(int count, float *answers)
{
    for (int i = 0; i < count; i++)
        answers[i] = 1.0f / (1.0f + expf(-answers[i]));
}

//@ softmax_answers
/* Answers as probabilities that add up to 1. */
static inline void softmax_answers(int count, float *answers)
{
    float most = answers[0], sum = 0.0f;
    for (int i = 1; i < count; i++)
        most = answers[i] > most ? answers[i] : most;
    for (int i = 0; i < count; i++)
        sum += answers[i] = expf(answers[i] - most);
    for (int i = 0; i < count; i++)
        answers[i] /= sum;
}

//@ end
#endif
