//! Tells the linker where memory is and how sections lie in it: the same program for each slot, and the boot stage.

const IMAGES: [&str; 3] = ["boot", "slot-a", "slot-b"];

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("Cargo sets it");
    println!("cargo:rustc-link-search={folder}");
    // No page of the file's own headers in front of the program: flash has no pages.
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed=retained.x");
    for image in IMAGES {
        for script in [image, "link", "retained"] {
            println!("cargo:rustc-link-arg-bin={image}=-T{script}.x");
        }
        println!("cargo:rerun-if-changed={image}.x");
    }
}
