SUMMARY = "Image of the supervisor MCU"
DESCRIPTION = "Ships what was built and signed elsewhere: Rust for the MCU is not the image's. Nothing writes it to the MCU yet."
HOMEPAGE = "https://sagitta.invalid"
BUGTRACKER = "https://sagitta.invalid/issues"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

# Set in the kas file of the product: the path of the image, and its SHA-256, without which nothing is taken.
SAGITTA_FIRMWARE ??= ""
SAGITTA_FIRMWARE_SHA256 ??= ""

SRC_URI = "file://${SAGITTA_FIRMWARE};unpack=0"

S = "${UNPACKDIR}"

inherit allarch

python () {
    if not d.getVar('SAGITTA_FIRMWARE'):
        raise bb.parse.SkipRecipe('SAGITTA_FIRMWARE names no image of the supervisor')
}

do_configure[noexec] = "1"

do_compile() {
    # Files of this machine are not compared by the fetcher.
    echo "${SAGITTA_FIRMWARE_SHA256}  ${UNPACKDIR}${SAGITTA_FIRMWARE}" | sha256sum --check -
}

do_install() {
    install -D -m 0644 ${UNPACKDIR}${SAGITTA_FIRMWARE} ${D}${nonarch_base_libdir}/firmware/sagitta/supervisor.bin
}

FILES:${PN} += "${nonarch_base_libdir}/firmware"
