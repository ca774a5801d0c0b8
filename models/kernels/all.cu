// All kernels, as the one module that mkgc loads.
#include "attention.cu"
#include "crf.cu"
#include "norm.cu"
#include "optimiser.cu"
#include "pointwise.cu"
#include "rows.cu"
