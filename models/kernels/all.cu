// The module that mkgc loads.
#include "attention.cu"
#include "norm.cu"
#include "optimiser.cu"
#include "pointwise.cu"
#include "rows.cu"
