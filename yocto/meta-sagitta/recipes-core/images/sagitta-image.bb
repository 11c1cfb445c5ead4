SUMMARY = "Scanner-side segmentation appliance"
LICENSE = "Apache-2.0"

inherit core-image

# Everything that changes lives on the data partition.
IMAGE_FEATURES += "read-only-rootfs"
IMAGE_INSTALL += "sagitta"
