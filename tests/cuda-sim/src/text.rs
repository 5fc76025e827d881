//! PTX as text: what a module declares, and the statements of a function's body.
//!
//! Owns: where things begin and end in the text. May not touch: what an instruction means.

use std::collections::HashMap;

/// A declared variable or parameter: `.align 4 .b8 name[128]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub align: usize,
    pub element: usize,
    pub size: usize,
    /// The bytes of its initializer; empty where there is none.
    pub initial: Vec<u8>,
}

/// A kernel or a device function.
#[derive(Clone, Debug, Default)]
pub struct Function {
    pub entry: bool,
    pub parameters: Vec<Variable>,
    pub results: Vec<Variable>,
    /// The text between the outer braces; empty for a declaration without a body.
    pub body: String,
    pub first_line: usize,
}

/// What a module declares.
#[derive(Debug, Default)]
pub struct Source {
    pub functions: HashMap<String, Function>,
    pub globals: Vec<Variable>,
    pub shared: Vec<Variable>,
    /// The name of the array whose size the launch gives.
    pub dynamic_shared: Vec<String>,
}

/// One piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Open,
    Close,
    Label(String),
    Statement(String),
}

/// Comments become blanks, so that line numbers stay.
fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"//") {
            at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
        } else if bytes[at..].starts_with(b"/*") {
            let end = text[at..].find("*/").map_or(bytes.len(), |length| at + length + 2);
            out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The bytes of a type such as `.f32`, where the word is one.
pub fn size_of(word: &str) -> Option<usize> {
    let word = word.trim_start_matches('.');
    let digits = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    match (word.chars().next()?, digits.parse::<usize>().ok()?) {
        ('b' | 'u' | 's' | 'f', bits @ (8 | 16 | 32 | 64)) => Some(bits / 8),
        _ => None,
    }
}

/// Reads `.align 4 .b8 name[128]`; words that are not known, such as `.ptr`, are passed over.
pub fn variable(text: &str) -> Variable {
    let (head, initial) = text.split_once('=').unwrap_or((text, ""));
    let mut made = Variable { element: 1, ..Variable::default() };
    let mut words = head.split_whitespace();
    while let Some(word) = words.next() {
        if word == ".align" {
            made.align = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
        } else if let Some(size) = size_of(word).filter(|_| word.starts_with('.')) {
            made.element = size;
        } else if !word.starts_with('.') {
            made.name.push_str(word);
        }
    }
    let (name, counts) = made.name.split_once('[').unwrap_or((&made.name, ""));
    let count: usize = counts
        .split(['[', ']'])
        .filter(|word| !word.is_empty())
        .map(|word| word.parse::<usize>().unwrap_or(0))
        .product();
    made.size = made.element * if counts == "]" { 0 } else { count };
    made.name = name.to_owned();
    made.align = made.align.max(made.element);
    made.initial = initializer(initial, made.element);
    made
}

fn initializer(text: &str, element: usize) -> Vec<u8> {
    let words = text.split(['{', '}', ',']).map(str::trim).filter(|word| !word.is_empty());
    words.flat_map(|word| literal(word).unwrap_or(0).to_le_bytes()[..element].to_vec()).collect()
}

/// A number as PTX writes it: decimal, hexadecimal, or the bits of a float.
pub fn literal(word: &str) -> Option<u64> {
    let word = word.trim_end_matches('U');
    let hexadecimal = |digits: &str| u64::from_str_radix(digits, 16).ok();
    for prefix in ["0f", "0F", "0d", "0D", "0x", "0X"] {
        if let Some(digits) = word.strip_prefix(prefix) {
            return hexadecimal(digits);
        }
    }
    word.parse::<i128>().ok().map(|value| value as u64)
}

/// Reads the declarations of a module.
pub fn source(text: &str) -> Result<Source, String> {
    let text = without_comments(text);
    if !text.contains(".version") || !text.contains(".target") {
        return Err("the image is not PTX text: it names no .version and no .target".to_owned());
    }
    let (mut made, mut at, mut line) = (Source::default(), 0, 1);
    while let Some(end) = text[at..].find(['\n', ';', '{', '=']).map(|length| at + length) {
        let head = text[at..end].trim();
        let rest = &text[end..];
        if rest.starts_with('\n') && !continues(head) {
            line += 1;
            at = end + 1;
            continue;
        }
        let (stop, body) = declaration_end(&text, at)?;
        let head = text[at..body.unwrap_or(stop)].trim();
        let inside = body.map_or("", |open| &text[open + 1..stop]);
        let before_body = text[at..body.unwrap_or(at)].matches('\n').count();
        declare(&mut made, head, inside, line + before_body);
        line += text[at..=stop].matches('\n').count();
        at = stop + 1;
    }
    Ok(made)
}

/// Whether a declaration goes on in the next line; `.version 9.0` and its like do not.
fn continues(head: &str) -> bool {
    let alone = [".version", ".target", ".address_size", ".file", ".loc"];
    !head.is_empty() && !alone.iter().any(|word| head.starts_with(word))
}

/// Where the declaration that begins at `at` ends, and where its body opens if it has one.
fn declaration_end(text: &str, at: usize) -> Result<(usize, Option<usize>), String> {
    let unfinished =
        || format!("the text ends inside a declaration: {:?}", &text[at..text.len().min(at + 60)]);
    let first = text[at..].find([';', '{', '=']).map(|length| at + length).ok_or_else(unfinished)?;
    if !text[first..].starts_with('{') {
        return Ok((text[first..].find(';').map(|length| first + length).ok_or_else(unfinished)?, None));
    }
    let mut depth = 0;
    for (offset, byte) in text.as_bytes()[first..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok((first + offset, Some(first)));
        }
    }
    Err(unfinished())
}

fn declare(made: &mut Source, head: &str, body: &str, first_line: usize) {
    if let Some((_, rest)) = head.split_once(".entry") {
        let (name, parameters) = rest.split_once('(').unwrap_or((rest, ""));
        let name = name.split_whitespace().next().unwrap_or("").to_owned();
        let parameters = list(parameters);
        let (body, results) = (body.to_owned(), vec![]);
        made.functions.insert(name, Function { entry: true, parameters, results, body, first_line });
    } else if let Some((_, rest)) = head.split_once(".func") {
        let (results, rest) = match rest.trim().strip_prefix('(') {
            Some(inner) => inner.split_once(')').map_or((vec![], inner), |(a, b)| (list(a), b)),
            None => (vec![], rest),
        };
        let (name, parameters) = rest.split_once('(').unwrap_or((rest, ""));
        if !body.is_empty() {
            let (parameters, body) = (list(parameters), body.to_owned());
            let function = Function { entry: false, parameters, results, body, first_line };
            made.functions.insert(name.trim().to_owned(), function);
        }
    } else if head.contains(".shared") {
        let made_here = variable(head);
        if head.contains(".extern") {
            made.dynamic_shared.push(made_here.name);
        } else {
            made.shared.push(made_here);
        }
    } else if head.contains(".global") || head.contains(".const") {
        made.globals.push(variable(head));
    }
}

/// The variables between parentheses.
fn list(text: &str) -> Vec<Variable> {
    let inside = text.split(')').next().unwrap_or("");
    inside.split(',').filter(|part| !part.trim().is_empty()).map(variable).collect()
}

/// Cuts a body into labels, scopes and statements, each with its line.
pub fn pieces(body: &str, first_line: usize) -> Vec<(usize, Piece)> {
    let (mut made, mut line, mut started, mut depth) = (vec![], first_line, first_line, 0);
    let mut current = String::new();
    for c in body.chars() {
        let fresh = current.trim().is_empty();
        if fresh {
            started = line;
        }
        line += usize::from(c == '\n');
        match c {
            '{' if fresh => made.push((line, Piece::Open)),
            '}' if fresh => made.push((line, Piece::Close)),
            ':' if is_label(current.trim()) => {
                made.push((started, Piece::Label(current.trim().to_owned())));
                current.clear();
            }
            ';' if depth == 0 => {
                let statement = current.split_whitespace().collect::<Vec<_>>().join(" ");
                if !statement.is_empty() {
                    made.push((started, Piece::Statement(statement)));
                }
                current.clear();
            }
            '\n' if current.trim().starts_with(".loc") => current.clear(),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                current.push(c);
            }
        }
    }
    made
}

fn is_label(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || "_$%".contains(c))
        && letters.all(|c| c.is_ascii_alphanumeric() || "_$".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_read() {
        let text = ".version 9.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 dyn[];\n\
            .global .align 4 .b8 table[4] = {1, 2, 3, 255};\n.func (.param .b64 r) helper\n(\n.param .b64 a\n)\n;\n\
            .func (.param .b64 r) helper(.param .b64 a)\n{ ret; }\n/* two\nlines */ .visible .entry k(\n\
            .param .u64 k_param_0,\n.param .align 8 .b8 k_param_1[16]\n)\n{\n ret;\n}\n";
        let made = source(text).unwrap();
        assert_eq!(made.dynamic_shared, ["dyn"]);
        assert_eq!(made.globals[0].initial, [1, 2, 3, 255]);
        assert_eq!(made.functions["helper"].results[0].name, "r");
        let kernel = &made.functions["k"];
        assert!(kernel.entry && !made.functions["helper"].entry);
        assert_eq!((kernel.parameters[1].size, kernel.parameters[1].align), (16, 8));
        assert_eq!(pieces(&kernel.body, kernel.first_line), [(19, Piece::Statement("ret".into()))]);
    }

    #[test]
    fn scopes_labels_and_vectors_are_told_apart() {
        let body = "\n{ .reg .b16 c;\n mov.b32 {%a, c}, %r;}\n$L_1:\n @%p bra $L_1;";
        let kinds: Vec<_> = pieces(body, 1).into_iter().map(|(_, piece)| piece).collect();
        assert_eq!(kinds[0], Piece::Open);
        assert_eq!(kinds[2], Piece::Statement("mov.b32 {%a, c}, %r".into()));
        assert_eq!(kinds[3], Piece::Close);
        assert_eq!(kinds[4], Piece::Label("$L_1".into()));
    }
}
