SUMMARY = "Scanner-side segmentation runtime"
DESCRIPTION = "Takes sagittal MR series by DICOM or MRD, segments the spine, returns overlays, objects and MQTT messages. \
               The weights of its nets are in the program."
HOMEPAGE = "https://sagitta.invalid"
BUGTRACKER = "https://sagitta.invalid/issues"
SECTION = "science"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=71b224ca933f0676e26d5c2e2271331c"

inherit cargo externalsrc systemd useradd overlayfs

# The layer is a folder of the repository that it builds.
EXTERNALSRC = "${@os.path.realpath(d.getVar('THISDIR') + '/../../../..')}"

# Every crate of Cargo.lock with its checksum; tests/tests/yocto.rs writes and checks it.
require sagitta-crates.inc

CARGO_BUILD_FLAGS += "--package sagitta"

do_install:append() {
    install -D -m 0644 ${S}/runtime/packaging/sagitta.service ${D}${systemd_system_unitdir}/sagitta.service
    install -D -m 0644 ${S}/runtime/packaging/sagitta.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/sagitta.conf
    install -D -m 0640 ${S}/runtime/packaging/sagitta.toml ${D}${sysconfdir}/sagitta/sagitta.toml
    chown -R root:sagitta ${D}${sysconfdir}/sagitta
    chmod 0750 ${D}${sysconfdir}/sagitta
}

SYSTEMD_SERVICE:${PN} = "sagitta.service"

# The user has to be there when the root is made: nothing can make it later. The same as runtime/packaging/sagitta.sysusers.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system render"
USERADD_PARAM:${PN} = "--system --home-dir ${localstatedir}/lib/sagitta --shell /sbin/nologin --user-group sagitta"

# What a site writes in /etc: our configuration and its network. All other of /etc is the image's, so that an update is whole.
OVERLAYFS_WRITABLE_PATHS[data] = "${sysconfdir}/sagitta ${sysconfdir}/systemd/network"

CONFFILES:${PN} = "${sysconfdir}/sagitta/sagitta.toml"
FILES:${PN} += "${systemd_system_unitdir} ${nonarch_libdir}/tmpfiles.d"
