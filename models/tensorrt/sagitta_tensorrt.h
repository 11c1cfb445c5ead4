/* The C interface between the engine `tensorrt` (models/src/engine/tensorrt) and TensorRT. No type of TensorRT or CUDA
 * crosses it, so that one binary works with every TensorRT and with none. Two libraries have it: sagitta_tensorrt.cpp,
 * built once per major of TensorRT, and the mock of the tests.
 *
 * Every function that can fail returns a code of `sagitta_trt_code` and writes its reason into `error`, a text of at most
 * SAGITTA_TRT_TEXT bytes with its zero. A handle is used by one thread at a time, and freed before the library it came from. */
#ifndef SAGITTA_TENSORRT_H
#define SAGITTA_TENSORRT_H

#include <stddef.h>
#include <stdint.h>

/* Counts up with every change of this file; plans of another number are built again. */
#define SAGITTA_TRT_ABI 1
#define SAGITTA_TRT_TEXT 512

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef enum {
  SAGITTA_TRT_OK = 0,
  SAGITTA_TRT_NO_LIBRARY = 1,
  SAGITTA_TRT_WRONG_VERSION = 2,
  SAGITTA_TRT_NO_DRIVER = 3,
  SAGITTA_TRT_OLD_DRIVER = 4,
  SAGITTA_TRT_NO_DEVICE = 5,
  SAGITTA_TRT_NOT_BUILT = 6,
  SAGITTA_TRT_PLAN_REJECTED = 7,
  SAGITTA_TRT_SHAPE = 8,
  SAGITTA_TRT_OUT_OF_MEMORY = 9,
  SAGITTA_TRT_DEVICE_LOST = 10,
} sagitta_trt_code;

typedef struct sagitta_trt_library sagitta_trt_library; /* TensorRT, opened */
typedef struct sagitta_trt_plan sagitta_trt_plan;       /* bytes of a built plan */
typedef struct sagitta_trt_net sagitta_trt_net;         /* a plan on the device, with its stream and buffers */

typedef struct {
  char name[256];
  int32_t driver; /* CUDA version that the driver serves: 12060 is 12.6 */
  uint64_t memory_bytes;
} sagitta_trt_device;

typedef struct {
  char name[128];
  int32_t is_input;
  int32_t is_float32;
  int32_t rank;
  int64_t dims[8]; /* -1: any size of the plan's range */
} sagitta_trt_tensor;

/* Smallest, usual and largest shape of the input: items, channels, rows, columns. */
typedef struct {
  int64_t least[4];
  int64_t usual[4];
  int64_t most[4];
} sagitta_trt_range;

/* Told of a build: the phase in TensorRT's words, steps done of all. */
typedef void (*sagitta_trt_progress)(void *user, const char *phase, int32_t done, int32_t steps);

int32_t sagitta_trt_abi(void);

/* NV_TENSORRT_VERSION of the headers: 100300 is 10.3.0. */
int32_t sagitta_trt_built_for(void);

/* Opens TensorRT and its ONNX parser by the names a dynamic linker takes. Needs no GPU. */
int32_t sagitta_trt_open(const char *tensorrt, const char *parser, sagitta_trt_library **out, char *error);
void sagitta_trt_close(sagitta_trt_library *);

/* Version of the opened library, as built_for. */
int32_t sagitta_trt_version(const sagitta_trt_library *);

/* Takes the first GPU. Before it only `build` works, and that only with a TensorRT that builds without a GPU. */
int32_t sagitta_trt_take_device(sagitta_trt_library *, sagitta_trt_device *out, char *error);

/* ONNX to a plan, strongly typed: every precision as the file says. */
int32_t sagitta_trt_build(sagitta_trt_library *, const void *onnx, size_t bytes, const sagitta_trt_range *,
                          uint64_t workspace_bytes, sagitta_trt_progress, void *user, sagitta_trt_plan **out, char *error);
const void *sagitta_trt_plan_data(const sagitta_trt_plan *);
size_t sagitta_trt_plan_bytes(const sagitta_trt_plan *);
void sagitta_trt_plan_free(sagitta_trt_plan *);

/* A plan onto the device. The bytes may go afterwards. */
int32_t sagitta_trt_load(sagitta_trt_library *, const void *plan, size_t bytes, sagitta_trt_net **out, char *error);
void sagitta_trt_unload(sagitta_trt_net *);

/* Writes the first `room` bindings, returns how many there are. */
int32_t sagitta_trt_tensors(const sagitta_trt_net *, sagitta_trt_tensor *out, int32_t room);

/* One input, one output, both float32 on the host: there, through the net, back, and waited for. */
int32_t sagitta_trt_run(sagitta_trt_net *, const float *input, const int64_t shape[4], float *output, size_t output_values,
                        char *error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
