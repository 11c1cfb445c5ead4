SUMMARY = "What makes a computer a Sagitta appliance"
DESCRIPTION = "The folder of the service on the data partition, the gate that keeps an update or takes it back, the SoC's watchdog."
HOMEPAGE = "https://sagitta.invalid"
BUGTRACKER = "https://sagitta.invalid/issues"
SECTION = "science"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

SRC_URI = "file://sagitta-health-gate \
           file://sagitta-health-gate.service \
           file://var-lib-sagitta.mount \
           file://50-watchdog.conf \
           "

S = "${UNPACKDIR}"

inherit allarch systemd

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/sagitta-health-gate ${D}${libexecdir}/sagitta-health-gate
    install -D -m 0644 ${S}/sagitta-health-gate.service ${D}${systemd_system_unitdir}/sagitta-health-gate.service
    install -D -m 0644 ${S}/var-lib-sagitta.mount ${D}${systemd_system_unitdir}/var-lib-sagitta.mount
    install -D -m 0644 ${S}/50-watchdog.conf ${D}${systemd_unitdir}/system.conf.d/50-watchdog.conf
    install -d ${D}/data
}

SYSTEMD_SERVICE:${PN} = "sagitta-health-gate.service var-lib-sagitta.mount"

FILES:${PN} += "/data ${systemd_unitdir}/system.conf.d"
RDEPENDS:${PN} += "curl sagitta"
