SUMMARY = "Scanner-side segmentation appliance"
DESCRIPTION = "An image with a root that is not written to; what changes is on the data partition."
HOMEPAGE = "https://sagitta.invalid"
LICENSE = "Apache-2.0"

inherit core-image

IMAGE_FEATURES += "read-only-rootfs"
# No login but by key, and no compiler, debugger or package manager on the box.
IMAGE_FEATURES += "ssh-server-openssh"

IMAGE_INSTALL += "sagitta sagitta-appliance"
# Whoever has a board for the supervisor names its signed image; see the recipe.
IMAGE_INSTALL += "${@'sagitta-firmware' if d.getVar('SAGITTA_FIRMWARE') else ''}"
