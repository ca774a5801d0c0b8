// What a kernel may use, in place of the headers of the CUDA toolkit.
#pragma once
#include "numbers.h"
#include "threads.h"
