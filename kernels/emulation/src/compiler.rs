//! NVIDIA's run-time compiler (NVRTC), asked without a GPU: PTX for the product, and what a kernel takes of each
//! architecture.
//!
//! Never part of the product and never distributed: `tests/run` installs it from PyPI.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use libloading::{Library, Symbol};

/// What our sources are compiled with. No fused products: see `sagitta.cuh`.
const OPTIONS: [&str; 3] = ["--std=c++17", "--fmad=false", "-default-device"];

/// One version of the compiler.
#[derive(Debug)]
pub struct Compiler {
    library: Library,
    /// Kept open: the compiler looks for it by name, and finds what is loaded.
    _builtins: Library,
    pub version: (i32, i32),
}

/// A source and the headers that it may include, by name and text.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
    pub headers: &'a [(String, String)],
}

/// What one kernel takes of a multiprocessor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    pub kernel: String,
    pub registers: u32,
    /// Bytes written to and read from memory because registers did not suffice.
    pub spilled: u32,
    pub stack: u32,
    pub shared: u32,
}

type Program = *mut c_void;

impl Compiler {
    /// The compiler in a folder into which its wheel was installed.
    pub fn open(folder: &Path) -> Result<Compiler, String> {
        let builtins = open(&find(folder, "libnvrtc-builtins.so.")?)?;
        let library = open(&find(folder, "libnvrtc.so.")?)?;
        let (mut major, mut minor) = (0, 0);
        {
            // SAFETY: the function has this type in every version.
            let version = unsafe {
                symbol::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>(
                    &library,
                    c"nvrtcVersion",
                )
            }?;
            // SAFETY: writes two numbers.
            unsafe { version(&raw mut major, &raw mut minor) };
        }
        Ok(Compiler { library, _builtins: builtins, version: (major, minor) })
    }

    /// PTX for `architecture` (`compute_80`) and everything after it.
    pub fn ptx(&self, source: Source, architecture: &str) -> Result<String, String> {
        self.compiled(source, architecture, &[]).map(|(ptx, _)| ptx)
    }

    /// What each kernel of `source` takes on `architecture` (`sm_87`), in the order of the compiler's report.
    pub fn resources(&self, source: Source, architecture: &str) -> Result<Vec<Resources>, String> {
        let (_, log) = self.compiled(source, architecture, &["--ptxas-options=-v"])?;
        reported(&log).ok_or_else(|| format!("a report of another form:\n{log}"))
    }

    /// PTX and log.
    fn compiled(
        &self,
        source: Source,
        architecture: &str,
        more: &[&str],
    ) -> Result<(String, String), String> {
        let architecture = format!("--gpu-architecture={architecture}");
        let options = OPTIONS.iter().chain(more).copied().chain([architecture.as_str()]);
        let options: Vec<CString> = options.map(text).collect::<Result<_, _>>()?;
        let (body, name) = (text(source.text)?, text(source.name)?);
        let of_headers = |part: fn(&(String, String)) -> &str| {
            source.headers.iter().map(|header| text(part(header))).collect::<Result<Vec<_>, _>>()
        };
        let (names, headers) = (of_headers(|h| &h.0)?, of_headers(|h| &h.1)?);
        let [names, headers] = [&names, &headers]
            .map(|texts| texts.iter().map(|t| t.as_ptr()).collect::<Vec<*const c_char>>());
        // SAFETY: the functions have these types since CUDA 7; every string lives until the program is destroyed.
        unsafe {
            let create = symbol::<
                unsafe extern "C" fn(
                    *mut Program,
                    *const c_char,
                    *const c_char,
                    c_int,
                    *const *const c_char,
                    *const *const c_char,
                ) -> c_int,
            >(&self.library, c"nvrtcCreateProgram")?;
            let compile = symbol::<
                unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
            >(&self.library, c"nvrtcCompileProgram")?;
            let destroy = symbol::<unsafe extern "C" fn(*mut Program) -> c_int>(
                &self.library,
                c"nvrtcDestroyProgram",
            )?;
            let mut program: Program = std::ptr::null_mut();
            let made = create(
                &raw mut program,
                body.as_ptr(),
                name.as_ptr(),
                headers.len() as c_int,
                headers.as_ptr(),
                names.as_ptr(),
            );
            if made != 0 {
                return Err(format!("no program could be made: nvrtcResult {made}"));
            }
            let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
            let compiled = compile(program, pointers.len() as c_int, pointers.as_ptr());
            let log = self.output(program, c"nvrtcGetProgramLogSize", c"nvrtcGetProgramLog");
            let ptx = self.output(program, c"nvrtcGetPTXSize", c"nvrtcGetPTX");
            destroy(&raw mut program);
            let log = log?;
            if compiled != 0 {
                return Err(format!("{}: nvrtcResult {compiled}\n{log}", source.name));
            }
            Ok((ptx?, log))
        }
    }

    /// A text that the compiler gives by its size and contents.
    ///
    /// # Safety
    /// `program` must be alive, and the functions a pair of the compiler.
    unsafe fn output(
        &self,
        program: Program,
        size: &CStr,
        contents: &CStr,
    ) -> Result<String, String> {
        // SAFETY: all pairs have these types.
        unsafe {
            let size =
                symbol::<unsafe extern "C" fn(Program, *mut usize) -> c_int>(&self.library, size)?;
            let contents = symbol::<unsafe extern "C" fn(Program, *mut c_char) -> c_int>(
                &self.library,
                contents,
            )?;
            let mut bytes = 0usize;
            size(program, &raw mut bytes);
            let mut buffer = vec![0u8; bytes + 1];
            contents(program, buffer.as_mut_ptr().cast());
            let text = CStr::from_bytes_until_nul(&buffer).map_err(|e| e.to_string())?;
            Ok(text.to_string_lossy().into_owned())
        }
    }
}

fn text(value: &str) -> Result<CString, String> {
    CString::new(value).map_err(|error| error.to_string())
}

/// The file that begins with `name` in `folder`, three folders down at most: wheels of CUDA 12 and 13 differ.
fn find(folder: &Path, name: &str) -> Result<std::path::PathBuf, String> {
    let mut open = vec![(folder.to_path_buf(), 0)];
    while let Some((at, depth)) = open.pop() {
        let entries = std::fs::read_dir(&at).map_err(|e| format!("{}: {e}", at.display()))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file.starts_with(name) && !file.contains(".alt.") {
                return Ok(path);
            }
            if path.is_dir() && depth < 3 {
                open.push((path, depth + 1));
            }
        }
    }
    Err(format!("no {name}* in {}", folder.display()))
}

fn open(path: &Path) -> Result<Library, String> {
    // SAFETY: NVIDIA's own library, as its programs load it.
    unsafe { Library::new(path) }.map_err(|error| error.to_string())
}

/// # Safety
/// `T` must be the type of the function.
unsafe fn symbol<'a, T>(library: &'a Library, name: &CStr) -> Result<Symbol<'a, T>, String> {
    // SAFETY: the caller's.
    unsafe { library.get(name.to_bytes_with_nul()) }.map_err(|error| error.to_string())
}

/// Reads the report of `ptxas -v`; `None` when it has another form.
fn reported(log: &str) -> Option<Vec<Resources>> {
    let mut kernels: Vec<Resources> = Vec::new();
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            let kernel = rest.split('\'').next()?.to_owned();
            kernels.push(Resources { kernel, registers: 0, spilled: 0, stack: 0, shared: 0 });
        } else if line.contains("bytes stack frame") {
            let numbers = numbers(line);
            let [stack, stores, loads] = numbers[..] else { return None };
            let kernel = kernels.last_mut()?;
            (kernel.stack, kernel.spilled) = (stack, stores + loads);
        } else if line.contains("Used ") {
            let kernel = kernels.last_mut()?;
            kernel.registers = before(line, " registers")?;
            kernel.shared = before(line, " bytes smem").unwrap_or(0);
        }
    }
    let whole = !kernels.is_empty() && kernels.iter().all(|k| k.registers > 0);
    whole.then_some(kernels)
}

fn numbers(line: &str) -> Vec<u32> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// The number directly before `words`.
fn before(line: &str, words: &str) -> Option<u32> {
    let head = &line[..line.find(words)?];
    head.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_ptxas_is_read() {
        let log = "ptxas info    : Compiling entry function 'k' for 'sm_87'\n\
            ptxas info    : Function properties for k\n\
            ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n\
            ptxas info    : Used 12 registers, used 1 barriers, 256 bytes smem, 364 bytes cmem[0]\n";
        let want =
            Resources { kernel: "k".into(), registers: 12, spilled: 16, stack: 8, shared: 256 };
        assert_eq!(reported(log), Some(vec![want]));
        assert_eq!(reported("ptxas info: something else"), None);
    }
}
