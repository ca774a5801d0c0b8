// Linear-chain conditional random fields (models/src/ops/crf.rs, models/src/ops/viterbi.rs). A block of any number of
// threads computes one row, and its threads share the tags of a word.
#include "common.cuh"

const u32 UNKNOWN = 0xffffffffu;

// A row, with a, r and the probability p of each tag of each word.
struct Row {
    const float *emissions, *start, *end, *transitions;
    float *a, *r, *p;
    int length, labels;
};

// The tags [first, end) that a word may have: the known tag, or all tags if it is unknown or `tags` is null.
struct Span {
    int first, end;
    __device__ bool has(int tag) const { return first <= tag && tag < end; }
};

__device__ inline Span span(const u32 *tags, int word, int labels) {
    const u32 tag = tags ? tags[word] : UNKNOWN;
    return tag == UNKNOWN ? Span{0, labels} : Span{(int)tag, (int)tag + 1};
}

// Returns p(i, j), the probability of tag i of the word before and tag j of `word`.
__device__ inline float pair(Row row, int word, int i, int j) {
    const int at = word * row.labels + j;
    return row.p[at] * expf(row.a[at - j - row.labels + i] + row.transitions[i * row.labels + j] - row.r[at]);
}

// Returns log Z over the paths that agree with the tags, and fills a, r and p of the tags in each word's span.
__device__ inline double log_partition(Row row, const u32 *tags) {
    const int labels = row.labels, last = row.length - 1;
    double shift = 0.0;
    Span to = span(tags, 0, labels);
    for (int j = to.first + threadIdx.x; j < to.end; j += blockDim.x) row.a[j] = row.emissions[j] + row.start[j];
    for (int word = 1; word < row.length; word++) {
        __syncthreads();
        const float *before = row.a + (word - 1) * labels;
        const Span from = to;
        to = span(tags, word, labels);
        float top = -INFINITY;
        for (int i = from.first; i < from.end; i++) top = fmaxf(top, before[i]);
        for (int j = to.first + threadIdx.x; j < to.end; j += blockDim.x) {
            float most = -INFINITY, sum = 0.0f;
            for (int i = from.first; i < from.end; i++) most = fmaxf(most, before[i] + row.transitions[i * labels + j]);
            for (int i = from.first; i < from.end; i++) sum += expf(before[i] + row.transitions[i * labels + j] - most);
            const float reach = most + logf(sum);
            row.r[word * labels + j] = reach;
            row.a[word * labels + j] = row.emissions[word * labels + j] + (reach - top);
        }
        shift += top;
    }
    __syncthreads();
    const float *ended = row.a + last * labels;
    float top = -INFINITY, sum = 0.0f;
    for (int j = to.first; j < to.end; j++) top = fmaxf(top, ended[j] + row.end[j]);
    for (int j = to.first; j < to.end; j++) sum += expf(ended[j] + row.end[j] - top);
    for (int j = to.first + threadIdx.x; j < to.end; j += blockDim.x)
        row.p[last * labels + j] = expf(ended[j] + row.end[j] - top) / sum;
    for (int word = last; word > 0; word--) {
        __syncthreads();
        const Span from = span(tags, word - 1, labels);
        for (int i = from.first + threadIdx.x; i < from.end; i += blockDim.x) {
            float all = 0.0f;
            for (int j = to.first; j < to.end; j++) all += pair(row, word, i, j);
            row.p[(word - 1) * labels + i] = all;
        }
        to = from;
    }
    __syncthreads();
    return shift + (top + logf(sum));
}

// Adds `sign` times the gradients of log Z.
__device__ inline void add_gradients(Row row, const u32 *tags, float sign, float *slope, float *moves) {
    const int labels = row.labels;
    for (int j = threadIdx.x; j < labels; j += blockDim.x)
        for (int word = 0; word < row.length; word++)
            if (span(tags, word, labels).has(j)) {
                const float p = sign * row.p[word * labels + j];
                slope[word * labels + j] += p;
                if (word == 0) moves[j] += p;
                if (word == row.length - 1) moves[labels + j] += p;
            }
    for (int of = threadIdx.x; of < labels * labels; of += blockDim.x) {
        const int i = of / labels, j = of % labels;
        float sum = 0.0f;
        for (int word = 1; word < row.length; word++)
            if (span(tags, word - 1, labels).has(i) && span(tags, word, labels).has(j)) sum += pair(row, word, i, j);
        moves[2 * labels + of] += sign * sum;
    }
}

// Computes nll of each row and its gradients: `slope` [rows, words, labels] with respect to the emissions, `moves`
// [rows, labels + 2, labels] to start, end and transitions. `tags` [rows, 1 + words] holds a row's length and its tags;
// `scratch` is [rows, 3, words, labels].
extern "C" __global__ void crf_nll(const float *emissions, const float *start, const float *end, const float *transitions,
                                   const u32 *tags, float *scratch, float *nll, float *slope, float *moves, int words,
                                   int labels) {
    const u64 each = (u64)words * labels, at = blockIdx.x * each;
    const u32 *own = tags + (u64)blockIdx.x * (1 + words);
    float *kept = scratch + 3 * at;
    const Row row = {emissions + at, start, end, transitions, kept, kept + each, kept + 2 * each, (int)own[0], labels};
    slope += at;
    moves += (u64)blockIdx.x * (labels + 2) * labels;
    for (int i = threadIdx.x; i < words * labels; i += blockDim.x) slope[i] = 0.0f;
    for (int i = threadIdx.x; i < (labels + 2) * labels; i += blockDim.x) moves[i] = 0.0f;
    if (threadIdx.x == 0) nll[blockIdx.x] = 0.0f;
    if (row.length == 0) return;
    const double all = log_partition(row, nullptr);
    add_gradients(row, nullptr, 1.0f, slope, moves);
    __syncthreads();
    const double agreeing = log_partition(row, own + 1);
    add_gradients(row, own + 1, -1.0f, slope, moves);
    if (threadIdx.x == 0) nll[blockIdx.x] = (float)(all - agreeing);
}

// Computes the best path of each row, 0 beyond its length; `best` and `back` [rows, words, labels] are scratch.
extern "C" __global__ void viterbi(const float *emissions, const float *start, const float *end, const float *transitions,
                                   const u32 *lengths, float *best, u32 *back, u32 *paths, int words, int labels) {
    const u64 at = (u64)blockIdx.x * words * labels;
    const int length = lengths[blockIdx.x];
    emissions += at;
    best += at;
    back += at;
    paths += (u64)blockIdx.x * words;
    for (int word = 0; word < length; word++) {
        __syncthreads();
        const float *before = best + (word - 1) * labels;
        for (int j = threadIdx.x; j < labels; j += blockDim.x) {
            float most = word == 0 ? start[j] : -INFINITY;
            u32 from = 0;
            for (int i = 0; word > 0 && i < labels; i++) {
                const float score = before[i] + transitions[i * labels + j];
                if (score > most) {
                    most = score;
                    from = i;
                }
            }
            best[word * labels + j] = most + emissions[word * labels + j];
            back[word * labels + j] = from;
        }
    }
    __syncthreads();
    if (threadIdx.x > 0) return;
    float most = -INFINITY;
    u32 tag = 0;
    for (int j = 0; length > 0 && j < labels; j++) {
        const float score = best[(length - 1) * labels + j] + end[j];
        if (score > most) {
            most = score;
            tag = j;
        }
    }
    for (int word = words - 1; word >= 0; word--) {
        paths[word] = word < length ? tag : 0;
        if (word < length) tag = back[word * labels + tag];
    }
}
