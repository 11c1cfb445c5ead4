// The interface of sagitta_tensorrt.h over TensorRT's C++ one (10.x, 11.x, TensorRT for RTX). Compiled once per major, against
// the headers of the target; links with neither TensorRT nor CUDA: both are opened when the service asks for them.
//
// Device memory and streams come from the driver's own interface (libcuda), which is wherever a GPU works: the runtime
// library (libcudart) has another name in every major and is not needed beside TensorRT.
#include "sagitta_tensorrt.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <memory>
#include <mutex>
#include <string>

// Headers without CUDA's own say nothing; every TensorRT that is supported needs CUDA 12 at least.
#ifndef CUDART_VERSION
#define CUDART_VERSION 12000
#endif

using namespace nvinfer1;

namespace {

// What libcuda answers when device memory is exhausted (cuda.h, CUDA_ERROR_OUT_OF_MEMORY).
constexpr int kOutOfMemory = 2;

// Keeps the last error that TensorRT told, which is the reason for the null or false that follows.
struct Log : ILogger {
  std::mutex lock;
  std::string last;
  void log(Severity severity, AsciiChar const *text) noexcept override {
    if (severity > Severity::kERROR) return;
    std::lock_guard<std::mutex> held(lock);
    last = text;
  }
  std::string take() {
    std::lock_guard<std::mutex> held(lock);
    return std::move(last);
  }
};

int32_t fail(int32_t code, char *error, const std::string &text) {
  snprintf(error, SAGITTA_TRT_TEXT, "%s", text.c_str());
  return code;
}

std::string dotted(int version) {
  // TensorRT counts in ten thousands since 10, in thousands before; the one for RTX in ten thousands from the start.
  int unit = version >= 10000 ? 10000 : 1000;
  int major = version / unit, rest = version % unit;
  return std::to_string(major) + "." + std::to_string(rest / 100) + "." + std::to_string(rest % 100);
}

// The part of cuda.h that a net needs, by its exported names.
struct Driver {
  int (*init)(unsigned) = nullptr;
  int (*version)(int *) = nullptr;
  int (*device)(int *, int) = nullptr;
  int (*name)(char *, int, int) = nullptr;
  int (*memory)(size_t *, int) = nullptr;
  int (*retain)(void **, int) = nullptr;
  int (*use)(void *) = nullptr;
  int (*allocate)(unsigned long long *, size_t) = nullptr;
  int (*release)(unsigned long long) = nullptr;
  int (*to_device)(unsigned long long, const void *, size_t, void *) = nullptr;
  int (*to_host)(void *, unsigned long long, size_t, void *) = nullptr;
  int (*new_stream)(void **, unsigned) = nullptr;
  int (*end_stream)(void *) = nullptr;
  int (*wait)(void *) = nullptr;
  int (*text)(int, const char **) = nullptr;
  void *context = nullptr;

  // The first name that libcuda lacks, or null.
  const char *bind(void *lib) {
    const char *missing = nullptr;
    auto find = [&](auto &function, const char *name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(lib, name));
      if (!function && !missing) missing = name;
    };
    find(init, "cuInit"), find(version, "cuDriverGetVersion"), find(device, "cuDeviceGet");
    find(name, "cuDeviceGetName"), find(memory, "cuDeviceTotalMem_v2"), find(retain, "cuDevicePrimaryCtxRetain");
    find(use, "cuCtxSetCurrent"), find(allocate, "cuMemAlloc_v2"), find(release, "cuMemFree_v2");
    find(to_device, "cuMemcpyHtoDAsync_v2"), find(to_host, "cuMemcpyDtoHAsync_v2");
    find(new_stream, "cuStreamCreate"), find(end_stream, "cuStreamDestroy_v2");
    find(wait, "cuStreamSynchronize"), find(text, "cuGetErrorString");
    return missing;
  }

  std::string reason(int code) const {
    const char *words = nullptr;
    text(code, &words);
    return "CUDA error " + std::to_string(code) + (words ? std::string(": ") + words : "");
  }
};

// What failed once the device was at work: out of memory can pass, anything else has taken the device from this process.
int32_t fault(const Driver &driver, int code, char *error, const char *what) {
  int32_t state = code == kOutOfMemory ? SAGITTA_TRT_OUT_OF_MEMORY : SAGITTA_TRT_DEVICE_LOST;
  return fail(state, error, std::string(what) + ": " + driver.reason(code));
}

// A null or false of TensorRT whose reason only its log tells.
int32_t refused(Log &log, int32_t code, char *error, const char *what) {
  std::string told = log.take();
  bool memory = told.find("out of memory") != std::string::npos || told.find("OutOfMemory") != std::string::npos;
  return fail(memory ? SAGITTA_TRT_OUT_OF_MEMORY : code, error, told.empty() ? what : std::string(what) + ": " + told);
}

struct Progress : IProgressMonitor {
  sagitta_trt_progress tell = nullptr;
  void *user = nullptr;
  std::mutex lock;
  std::string phase;
  int32_t steps = 0;
  // Phases nest; the outermost one is told, for the inner ones start again and again.
  void phaseStart(char const *name, char const *parent, int32_t count) noexcept override {
    std::lock_guard<std::mutex> held(lock);
    if (parent) return;
    phase = name, steps = count;
    tell(user, name, 0, count);
  }
  bool stepComplete(char const *name, int32_t step) noexcept override {
    std::lock_guard<std::mutex> held(lock);
    if (phase == name) tell(user, name, step + 1, steps);
    return true;
  }
  // The last steps of a phase may never be told.
  void phaseFinish(char const *name) noexcept override {
    std::lock_guard<std::mutex> held(lock);
    if (phase == name) tell(user, name, steps, steps);
  }
};

}  // namespace

struct sagitta_trt_library {
  Log log;
  int32_t version = 0;
  void *(*new_runtime)(void *, int32_t) = nullptr;
  void *(*new_builder)(void *, int32_t) = nullptr;
  void *(*new_parser)(void *, void *, int) = nullptr;
  Driver driver;
  std::unique_ptr<IRuntime> runtime;
};

struct sagitta_trt_plan {
  std::unique_ptr<IHostMemory> memory;
};

struct Buffer {
  unsigned long long address = 0;
  size_t bytes = 0;
};

struct sagitta_trt_net {
  explicit sagitta_trt_net(sagitta_trt_library *from) : library(from) {}
  sagitta_trt_library *library;
  std::unique_ptr<ICudaEngine> engine;
  std::unique_ptr<IExecutionContext> context;
  const char *input = nullptr, *output = nullptr;
  void *stream = nullptr;
  Buffer from, to;


  ~sagitta_trt_net() {
    const Driver &driver = library->driver;
    driver.use(driver.context);
    // After a lost device these fail, and there is nothing left to free.
    if (stream) driver.end_stream(stream);
    if (from.address) driver.release(from.address);
    if (to.address) driver.release(to.address);
  }

  // Grows a buffer; the usual size comes again and again.
  int room(Buffer &buffer, size_t bytes) {
    if (buffer.bytes >= bytes) return 0;
    if (buffer.address) library->driver.release(buffer.address);
    buffer = Buffer{};
    int code = library->driver.allocate(&buffer.address, bytes);
    if (!code) buffer.bytes = bytes;
    return code;
  }
};

namespace {

Dims dims(const int64_t shape[4]) {
  Dims dims{};
  dims.nbDims = 4;
  for (int i = 0; i < 4; i++) dims.d[i] = shape[i];
  return dims;
}

// Names the one input and the one output.
bool one_each(sagitta_trt_net &net) {
  if (net.engine->getNbIOTensors() != 2) return false;
  net.input = net.engine->getIOTensorName(0), net.output = net.engine->getIOTensorName(1);
  if (net.engine->getTensorIOMode(net.input) != TensorIOMode::kINPUT) std::swap(net.input, net.output);
  bool single = net.engine->getTensorDataType(net.input) == DataType::kFLOAT;
  return single && net.engine->getTensorDataType(net.output) == DataType::kFLOAT;
}

}  // namespace

int32_t sagitta_trt_abi(void) { return SAGITTA_TRT_ABI; }

int32_t sagitta_trt_built_for(void) { return NV_TENSORRT_VERSION; }

int32_t sagitta_trt_open(const char *tensorrt, const char *parser, sagitta_trt_library **out, char *error) {
  // Never closed again: TensorRT keeps threads and statics of its own.
  void *lib = dlopen(tensorrt, RTLD_NOW | RTLD_LOCAL);
  if (!lib) return fail(SAGITTA_TRT_NO_LIBRARY, error, dlerror());
  auto version = reinterpret_cast<int32_t (*)()>(dlsym(lib, "getInferLibVersion"));
  if (!version) return fail(SAGITTA_TRT_NO_LIBRARY, error, std::string(tensorrt) + " is no TensorRT");
  std::string major = dotted(version());
  if (major.substr(0, major.find('.')) != std::to_string(NV_TENSORRT_MAJOR)) {
    std::string text = "TensorRT " + dotted(version()) + " is installed, this shim was built for " + dotted(NV_TENSORRT_VERSION);
    return fail(SAGITTA_TRT_WRONG_VERSION, error, text);
  }
  std::unique_ptr<sagitta_trt_library> library(new sagitta_trt_library);
  library->version = version();
  library->new_runtime = reinterpret_cast<void *(*)(void *, int32_t)>(dlsym(lib, "createInferRuntime_INTERNAL"));
  library->new_builder = reinterpret_cast<void *(*)(void *, int32_t)>(dlsym(lib, "createInferBuilder_INTERNAL"));
  void *onnx = dlopen(parser, RTLD_NOW | RTLD_LOCAL);
  if (!onnx) return fail(SAGITTA_TRT_NO_LIBRARY, error, dlerror());
  library->new_parser = reinterpret_cast<void *(*)(void *, void *, int)>(dlsym(onnx, "createNvOnnxParser_INTERNAL"));
  if (!library->new_runtime || !library->new_builder || !library->new_parser) {
    return fail(SAGITTA_TRT_NO_LIBRARY, error, std::string(tensorrt) + " has no builder: a lean runtime is not enough");
  }
  *out = library.release();
  return SAGITTA_TRT_OK;
}

void sagitta_trt_close(sagitta_trt_library *library) { delete library; }

int32_t sagitta_trt_version(const sagitta_trt_library *library) { return library->version; }

int32_t sagitta_trt_take_device(sagitta_trt_library *library, sagitta_trt_device *out, char *error) {
  void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!lib) return fail(SAGITTA_TRT_NO_DRIVER, error, dlerror());
  Driver &driver = library->driver;
  if (const char *missing = driver.bind(lib)) {
    return fail(SAGITTA_TRT_OLD_DRIVER, error, std::string("the driver has no ") + missing);
  }
  int device = 0, served = 0;
  size_t bytes = 0;
  driver.version(&served);
  // A driver serves every CUDA of its major.
  int least = CUDART_VERSION / 1000 * 1000;
  if (served && served < least) {
    auto cuda = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
    std::string text = "the driver serves CUDA " + cuda(served) + ", this TensorRT needs " + cuda(least);
    return fail(SAGITTA_TRT_OLD_DRIVER, error, text);
  }
  int code = driver.init(0);
  if (!code) code = driver.device(&device, 0);
  if (!code) code = driver.name(out->name, sizeof out->name, device);
  if (!code) code = driver.memory(&bytes, device);
  if (!code) code = driver.retain(&driver.context, device);
  if (!code) code = driver.use(driver.context);
  if (code) return fail(SAGITTA_TRT_NO_DEVICE, error, driver.reason(code));
  out->driver = served, out->memory_bytes = bytes;
  library->runtime.reset(static_cast<IRuntime *>(library->new_runtime(&library->log, NV_TENSORRT_VERSION)));
  if (!library->runtime) return refused(library->log, SAGITTA_TRT_NO_DEVICE, error, "TensorRT does not start");
  return SAGITTA_TRT_OK;
}

int32_t sagitta_trt_build(sagitta_trt_library *library, const void *onnx, size_t bytes, const sagitta_trt_range *range,
                          uint64_t workspace_bytes, sagitta_trt_progress tell, void *user, sagitta_trt_plan **out, char *error) {
  Log &log = library->log;
  if (library->driver.context) library->driver.use(library->driver.context);
  std::unique_ptr<IBuilder> builder(static_cast<IBuilder *>(library->new_builder(&log, NV_TENSORRT_VERSION)));
  if (!builder) return refused(log, SAGITTA_TRT_NOT_BUILT, error, "TensorRT gives no builder");
  uint32_t flags = 0;
#if NV_TENSORRT_MAJOR == 10
  // The only way that 11 and the one for RTX have.
  flags = 1U << static_cast<uint32_t>(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#endif
  std::unique_ptr<INetworkDefinition> network(builder->createNetworkV2(flags));
  std::unique_ptr<IBuilderConfig> config(builder->createBuilderConfig());
  std::unique_ptr<nvonnxparser::IParser> parser(
      static_cast<nvonnxparser::IParser *>(library->new_parser(network.get(), &log, NV_ONNX_PARSER_VERSION)));
  if (!parser || !parser->parse(onnx, bytes)) {
    const char *what = parser && parser->getNbErrors() ? parser->getError(0)->desc() : "the ONNX file is refused";
    return refused(log, SAGITTA_TRT_NOT_BUILT, error, what);
  }
  if (network->getNbInputs() != 1) return fail(SAGITTA_TRT_NOT_BUILT, error, "the net has not one input");
  // What a builder without a GPU complained of is no reason for what follows.
  log.take();
  IOptimizationProfile *profile = builder->createOptimizationProfile();
  const char *input = network->getInput(0)->getName();
  bool fits = profile->setDimensions(input, OptProfileSelector::kMIN, dims(range->least)) &&
              profile->setDimensions(input, OptProfileSelector::kOPT, dims(range->usual)) &&
              profile->setDimensions(input, OptProfileSelector::kMAX, dims(range->most));
  if (!fits || config->addOptimizationProfile(profile) < 0) {
    return refused(log, SAGITTA_TRT_NOT_BUILT, error, "the range of shapes is refused");
  }
  config->setMemoryPoolLimit(MemoryPoolType::kWORKSPACE, workspace_bytes);
  Progress progress;
  progress.tell = tell, progress.user = user;
  config->setProgressMonitor(&progress);
  std::unique_ptr<IHostMemory> memory(builder->buildSerializedNetwork(*network, *config));
  if (!memory) return refused(log, SAGITTA_TRT_NOT_BUILT, error, "the plan was not built");
  *out = new sagitta_trt_plan{std::move(memory)};
  return SAGITTA_TRT_OK;
}

const void *sagitta_trt_plan_data(const sagitta_trt_plan *plan) { return plan->memory->data(); }

size_t sagitta_trt_plan_bytes(const sagitta_trt_plan *plan) { return plan->memory->size(); }

void sagitta_trt_plan_free(sagitta_trt_plan *plan) { delete plan; }

int32_t sagitta_trt_load(sagitta_trt_library *library, const void *plan, size_t bytes, sagitta_trt_net **out, char *error) {
  const Driver &driver = library->driver;
  if (!library->runtime) return fail(SAGITTA_TRT_NO_DEVICE, error, "no device was taken");
  driver.use(driver.context);
  std::unique_ptr<sagitta_trt_net> net(new sagitta_trt_net{library});
  net->engine.reset(library->runtime->deserializeCudaEngine(plan, bytes));
  if (!net->engine) return refused(library->log, SAGITTA_TRT_PLAN_REJECTED, error, "TensorRT rejects the plan");
  if (!one_each(*net)) return fail(SAGITTA_TRT_PLAN_REJECTED, error, "the plan has not one float32 input and output");
  net->context.reset(net->engine->createExecutionContext());
  if (!net->context) return refused(library->log, SAGITTA_TRT_OUT_OF_MEMORY, error, "no context for the plan");
  if (int code = driver.new_stream(&net->stream, 0)) return fault(driver, code, error, "no stream");
  *out = net.release();
  return SAGITTA_TRT_OK;
}

void sagitta_trt_unload(sagitta_trt_net *net) { delete net; }

int32_t sagitta_trt_tensors(const sagitta_trt_net *net, sagitta_trt_tensor *out, int32_t room) {
  int32_t count = net->engine->getNbIOTensors();
  for (int32_t i = 0; i < count && i < room; i++) {
    const char *name = net->engine->getIOTensorName(i);
    Dims shape = net->engine->getTensorShape(name);
    out[i] = {};
    snprintf(out[i].name, sizeof out[i].name, "%s", name);
    out[i].is_input = net->engine->getTensorIOMode(name) == TensorIOMode::kINPUT;
    out[i].is_float32 = net->engine->getTensorDataType(name) == DataType::kFLOAT;
    out[i].rank = shape.nbDims;
    for (int k = 0; k < shape.nbDims && k < 8; k++) out[i].dims[k] = shape.d[k];
  }
  return count;
}

int32_t sagitta_trt_run(sagitta_trt_net *net, const float *input, const int64_t shape[4], float *output, size_t output_values,
                        char *error) {
  const Driver &driver = net->library->driver;
  Log &log = net->library->log;
  if (int code = driver.use(driver.context)) return fault(driver, code, error, "the device");
  if (!net->context->setInputShape(net->input, dims(shape))) {
    return refused(log, SAGITTA_TRT_SHAPE, error, "the plan does not take this shape");
  }
  size_t values = 1;
  for (int i = 0; i < 4; i++) values *= static_cast<size_t>(shape[i]);
  Dims made = net->context->getTensorShape(net->output);
  size_t expected = 1;
  for (int i = 0; i < made.nbDims; i++) expected *= static_cast<size_t>(made.d[i]);
  if (expected != output_values) return fail(SAGITTA_TRT_SHAPE, error, "the plan's output has another size");
  int code = net->room(net->from, values * sizeof(float));
  if (!code) code = net->room(net->to, output_values * sizeof(float));
  if (code) return fault(driver, code, error, "memory for input and output");
  net->context->setTensorAddress(net->input, reinterpret_cast<void *>(net->from.address));
  net->context->setTensorAddress(net->output, reinterpret_cast<void *>(net->to.address));
  code = driver.to_device(net->from.address, input, values * sizeof(float), net->stream);
  if (code) return fault(driver, code, error, "the input's way to the device");
  bool queued = net->context->enqueueV3(static_cast<cudaStream_t>(net->stream));
  if (queued) code = driver.to_host(output, net->to.address, output_values * sizeof(float), net->stream);
  // Also after a failure: nothing may still write to `output` when the caller has it back.
  int waited = driver.wait(net->stream);
  if (code || waited) return fault(driver, code ? code : waited, error, "the run");
  if (!queued) return refused(log, SAGITTA_TRT_DEVICE_LOST, error, "the run was not queued");
  return SAGITTA_TRT_OK;
}
