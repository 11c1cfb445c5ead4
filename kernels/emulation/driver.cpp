// A CUDA driver whose device is the processor: `libcuda.so.1` for a child process of the tests, so that the product's own
// way to a device runs without one, and meets the faults that a device would hardly show on demand.
//
// Kernels are those of libkernels.so beside it, found by the names in the PTX; what the PTX says of a parameter's size is
// compared with the kernel's. `SAGITTA_DRIVER` sets what is wrong, as words `name=number`: version, devices, capability
// (75 for 7.5), memory (bytes there are), lost (the launch at which the device goes, counted from 1).
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

namespace {

// Numbers of cuda.h.
enum Result { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_IMAGE = 200,
              NOT_FOUND = 500, LAUNCH_FAILED = 719 };
const int CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76;

struct Shape {
    unsigned blocks[3], threads, shared_bytes, order;
};
typedef const char* (*Emulated)(void**, const size_t*, unsigned, const Shape*);

struct Function {
    Emulated run;
    std::vector<size_t> sizes;
};

std::mutex one_at_a_time;
std::map<uint64_t, size_t> blocks;
size_t used = 0;
long launches = 0;
bool lost = false;

long setting(const char* name, long otherwise) {
    const char* all = getenv("SAGITTA_DRIVER");
    std::istringstream words(all ? all : "");
    for (std::string word; words >> word;) {
        size_t at = word.find('=');
        if (at != std::string::npos && word.substr(0, at) == name) return atol(word.c_str() + at + 1);
    }
    return otherwise;
}

void* kernels() {
    static void* library = [] {
        Dl_info self;
        dladdr((void*)&kernels, &self);
        std::string path = self.dli_fname;
        path = path.substr(0, path.rfind('/') + 1) + "libkernels.so";
        return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    }();
    return library;
}

// Whether `bytes` at `address` lie within one block.
bool ours(uint64_t address, size_t bytes) {
    auto next = blocks.upper_bound(address);
    if (next == blocks.begin()) return false;
    --next;
    return address - next->first + bytes <= next->second;
}

// Sizes of the parameters of `name`, from `.param .u64 name_param_0` and the like.
std::vector<size_t> sizes_of(const std::string& ptx, const std::string& name) {
    std::vector<size_t> sizes;
    size_t at = ptx.find(".entry " + name + "("), end = ptx.find(')', at);
    while ((at = ptx.find(".param .", at)) < end) {
        at += strlen(".param .") + 1;
        sizes.push_back(atol(ptx.c_str() + at) / 8);
    }
    return sizes;
}

int alive() { return lost ? LAUNCH_FAILED : SUCCESS; }

}  // namespace

extern "C" {

int cuDriverGetVersion(int* version) {
    *version = setting("version", 12060);
    return SUCCESS;
}
int cuInit(unsigned) { return setting("devices", 1) ? SUCCESS : NO_DEVICE; }
int cuDeviceGetCount(int* count) {
    *count = setting("devices", 1);
    return SUCCESS;
}
int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return SUCCESS;
}
int cuDeviceGetName(char* name, int length, int) {
    snprintf(name, length, "the processor");
    return SUCCESS;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
    long capability = setting("capability", 87);
    if (attribute != CAPABILITY_MAJOR && attribute != CAPABILITY_MINOR) return INVALID_VALUE;
    *value = attribute == CAPABILITY_MAJOR ? capability / 10 : capability % 10;
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void** context, int) {
    *context = &one_at_a_time;
    return SUCCESS;
}
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxSetCurrent(void*) { return alive(); }
int cuStreamCreate(void** stream, unsigned) {
    *stream = &launches;
    return SUCCESS;
}
int cuStreamSynchronize(void*) { return alive(); }
int cuStreamDestroy_v2(void*) { return SUCCESS; }

int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (used + bytes > (size_t)setting("memory", 1L << 40)) return OUT_OF_MEMORY;
    void* block = nullptr;
    if (posix_memalign(&block, 256, bytes)) return OUT_OF_MEMORY;
    memset(block, 0xA5, bytes);
    *address = (uint64_t)block;
    blocks[*address] = bytes;
    used += bytes;
    return SUCCESS;
}
int cuMemFree_v2(uint64_t address) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!blocks.count(address)) return INVALID_VALUE;
    used -= blocks[address];
    blocks.erase(address);
    free((void*)address);
    return SUCCESS;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!ours(to, bytes)) return INVALID_VALUE;
    memcpy((void*)to, from, bytes);
    return alive();
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!ours(from, bytes)) return INVALID_VALUE;
    memcpy(to, (void*)from, bytes);
    return alive();
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!ours(to, bytes) || !ours(from, bytes)) return INVALID_VALUE;
    memcpy((void*)to, (void*)from, bytes);
    return alive();
}
int cuMemsetD8Async(uint64_t to, unsigned char byte, size_t bytes, void*) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!ours(to, bytes)) return INVALID_VALUE;
    memset((void*)to, byte, bytes);
    return alive();
}

int cuModuleLoadData(void** module, const void* image) {
    const char* text = static_cast<const char*>(image);
    if (!strstr(text, ".version 8.5")) return INVALID_IMAGE;
    *module = new std::string(text);
    return kernels() ? SUCCESS : INVALID_IMAGE;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
    void* run = dlsym(kernels(), (std::string("emulated_") + name).c_str());
    if (!run) return NOT_FOUND;
    *function = new Function{(Emulated)run, sizes_of(*static_cast<std::string*>(module), name)};
    return SUCCESS;
}
int cuLaunchKernel(void* handle, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty,
                   unsigned tz, unsigned shared_bytes, void*, void** arguments, void**) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (++launches == setting("lost", -1)) lost = true;
    if (lost) return LAUNCH_FAILED;
    if (ty != 1 || tz != 1) return INVALID_VALUE;
    const Function* function = static_cast<Function*>(handle);
    Shape shape = {{x, y, z}, threads, shared_bytes, 0};
    const std::vector<size_t>& sizes = function->sizes;
    const char* fault = function->run(arguments, sizes.data(), sizes.size(), &shape);
    if (fault) fprintf(stderr, "the emulated driver: %s\n", fault);
    return fault ? INVALID_VALUE : SUCCESS;
}

}  // extern "C"
