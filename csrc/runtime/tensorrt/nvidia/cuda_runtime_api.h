/* The two names of CUDA's runtime that TensorRT's headers mention, so that no CUDA toolkit is needed to
 * compile against them: nothing of that runtime is called here. Both are opaque pointers there, too. */
#ifndef CASTLINE_CUDA_RUNTIME_API_H
#define CASTLINE_CUDA_RUNTIME_API_H

typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;

#endif /* CASTLINE_CUDA_RUNTIME_API_H */
