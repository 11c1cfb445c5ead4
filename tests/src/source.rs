//! A small reader of source text for the house rules: what is code, where functions begin and end.
//!
//! Knows the lexical rules of Rust (nested comments, raw strings, lifetimes) and enough of C++/JavaScript and Python
//! to measure functions. No parser: a rule that needs one belongs to clippy.

/// One function and its length in lines, signature and closing brace included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub lines: usize,
}

/// `text` with the contents of comments, strings and character literals replaced by spaces; line breaks stay.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => comment_end(bytes, at),
            b'r' if raw_string_hashes(bytes, at).is_some() => raw_string_end(bytes, at),
            b'"' => quoted_end(bytes, at, b'"'),
            b'`' => quoted_end(bytes, at, b'`'),
            b'\'' if is_character(bytes, at) => quoted_end(bytes, at, b'\''),
            _ => {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
        };
        out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n)
}

/// Block comments nest in Rust; in the other languages an inner opening is as rare as it is confusing.
fn comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut i) = (0usize, at);
    while i + 1 < bytes.len() {
        match &bytes[i..i + 2] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    bytes.len()
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut i = at + 1;
    while i < bytes.len() && bytes[i] != quote {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(bytes.len())
}

/// The number of `#` when a raw string (`r"`, `r#"`, `br"`) begins at the `r` at `at`.
fn raw_string_hashes(bytes: &[u8], at: usize) -> Option<usize> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let start = if at > 0 && bytes[at - 1] == b'b' { at - 1 } else { at };
    if start > 0 && word(bytes[start - 1]) {
        return None;
    }
    let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let hashes = raw_string_hashes(bytes, at).unwrap_or(0);
    let closing: Vec<u8> = std::iter::once(b'"').chain(vec![b'#'; hashes]).collect();
    let body = at + hashes + 2;
    let found = bytes[body..].windows(closing.len()).position(|w| w == closing);
    found.map_or(bytes.len(), |n| body + n + closing.len())
}

/// `'x'` and `'\n'` are characters, `'a` in `&'a str` is a lifetime.
fn is_character(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at + 1) {
        Some(b'\\') => true,
        Some(&b) if b.is_ascii_alphanumeric() || b == b'_' => bytes.get(at + 2) == Some(&b'\''),
        Some(_) => true,
        None => false,
    }
}

/// Functions of Rust code, or of JavaScript and CUDA code that begins them with `keyword`.
///
/// `code` must come from [`code_only`]. A declaration without body is no function.
pub fn functions(code: &str, keyword: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in words(code).filter(|&(_, word)| word == keyword) {
        let rest = &code[at + keyword.len()..];
        let name: String =
            rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // `fn(u8) -> u8` is a type.
        if name.is_empty() {
            continue;
        }
        if let Some(body) = body_end(rest) {
            found.push(Function { name, lines: rest[..body].matches('\n').count() + 1 });
        }
    }
    found
}

/// The end of the first brace block of `code`; `None` when a `;` comes first (outside brackets).
fn body_end(code: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (i, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(i + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Functions of CUDA or C++ code: blocks that follow a `)` outside every other block.
pub fn c_functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = code[at..].find('{').map(|n| at + n) {
        let head_start = code[at..open].rfind(';').map_or(at, |n| at + n + 1);
        let head = &code[head_start..open];
        if !head.contains(')') || head.trim_end().ends_with('=') {
            at = open + 1; // a namespace, an `extern "C"` block, a struct: look inside
            continue;
        }
        let Some(length) = body_end(&code[open..]) else { break };
        let name = head.split('(').next().unwrap_or("");
        let name = name.split_whitespace().last().unwrap_or("").to_owned();
        found.push(Function { name, lines: code[open..open + length].matches('\n').count() + 1 });
        at = open + length;
    }
    found
}

/// Functions of Python text, by indentation. Strings of several lines may hold lines with less indentation.
pub fn python_functions(text: &str) -> Vec<Function> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let head = line.trim_start();
        let head = head.strip_prefix("async ").unwrap_or(head);
        let Some(rest) = head.strip_prefix("def ") else { continue };
        let name = rest.split('(').next().unwrap_or("").to_owned();
        let inside = |l: &&str| l.trim().is_empty() || indent(l) > indent(line) || l.trim() == "):";
        let body = lines[start + 1..].iter().take_while(|l| inside(l));
        let length = 1 + body.collect::<Vec<_>>().len();
        let blank = lines[start..start + length].iter().rev().take_while(|l| l.trim().is_empty());
        found.push(Function { name, lines: length - blank.count() });
    }
    found
}

/// The words of `code` and where they begin.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.split(move |c| !is_word(c)).filter(|w| !w.is_empty()).map(move |word| {
        // Both are parts of one string, so the distance is the position.
        (word.as_ptr() as usize - code.as_ptr() as usize, word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let text =
            "let a = \"unsafe {\"; // unsafe\n/* a /* b */ unsafe */ let b = '\"'; fn f<'a>() {}";
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert!(
            !code.contains("unsafe") && code.contains("let b =") && code.contains("fn f<'a>()")
        );
        let raw = code_only("let r = r#\"fn \" x\"#; let s = br\"fn\"; fn g() {}");
        assert_eq!(raw.matches("fn").count(), 1);
    }

    #[test]
    fn functions_are_measured() {
        let text = "fn a() {\n    let s = \"}\";\n}\ntrait T { fn b(x: [u8; 3]); }\nfn c(f: fn(u8)) -> [u8; 2] {\n [0; 2] }";
        let found = functions(&code_only(text), "fn");
        let seen: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.lines)).collect();
        assert_eq!(seen, [("a", 3), ("c", 2)]);
    }

    #[test]
    fn c_functions_are_found_in_their_blocks() {
        let text = "extern \"C\" {\n__global__ void fill(int n)\n{\n  if (n) { n = 0; }\n}\n}\nint x[] = {1};";
        let seen = c_functions(&code_only(text));
        assert_eq!(seen, [Function { name: "fill".into(), lines: 3 }]);
    }

    #[test]
    fn python_functions_end_with_their_indentation() {
        let text = "def a(\n    x,\n):\n    return x\n\n\nclass B:\n    async def c(self):\n        pass\n";
        let seen: Vec<_> = python_functions(text).into_iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(seen, [("a".to_owned(), 4), ("c".to_owned(), 2)]);
    }
}
