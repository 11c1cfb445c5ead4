SUMMARY = "The library between Sagitta and TensorRT"
DESCRIPTION = "Built against the headers of the image's TensorRT, whose major is in its name; the service loads it if it is there."
HOMEPAGE = "https://sagitta.invalid"
BUGTRACKER = "https://sagitta.invalid/issues"
SECTION = "libs"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=71b224ca933f0676e26d5c2e2271331c"
DEPENDS = "cuda-cudart tensorrt-core"

inherit cuda externalsrc

# The layer is a folder of the repository that it builds.
EXTERNALSRC = "${@os.path.realpath(d.getVar('THISDIR') + '/../../../../../..')}"

COMPATIBLE_MACHINE = "(tegra)"

do_configure[noexec] = "1"

do_compile() {
    # The compiler with its flags is several words, and the script takes one.
    printf '#!/bin/sh\nexec %s "$@"\n' "${CXX} ${CXXFLAGS} ${LDFLAGS}" > ${B}/c++
    chmod +x ${B}/c++
    CXX=${B}/c++ ${S}/runtime/packaging/tensorrt-shim ${B}/out \
        ${STAGING_INCDIR} ${STAGING_DIR_HOST}/usr/local/cuda-${CUDA_VERSION}/include
}

do_install() {
    install -d ${D}${nonarch_libdir}/sagitta
    install -m 0755 ${B}/out/libsagitta_tensorrt*.so ${D}${nonarch_libdir}/sagitta/
}

# It is opened by its name, and opens TensorRT by its name: neither is found by looking at the files.
SOLIBS = ".so"
FILES_SOLIBSDEV = ""
FILES:${PN} += "${nonarch_libdir}/sagitta"
RDEPENDS:${PN} += "tensorrt-core"
