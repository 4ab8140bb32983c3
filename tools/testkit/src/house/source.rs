//! What of a source file is program? Comments, literals and test-only items are blanked, lines keep their numbers.

/// A source file reduced to the program that is shipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The text, with spaces where comments, literals and test-only items were.
    pub program: String,
    /// Modules in files of their own that are compiled for tests only (`#[cfg(test)] mod NAME;`).
    pub test_modules: Vec<String>,
}

impl Source {
    /// Reads a source text.
    pub fn new(text: &str) -> Source {
        let mut program = without_literals(text);
        let mut test_modules = Vec::new();
        while let Some(at) = find_test_attribute(&program) {
            let end = item_end(&program, at);
            let item: String = program[at..end].to_owned();
            if let Some(name) = item
                .strip_suffix(';')
                .and_then(|item| item.rsplit_once("mod "))
            {
                test_modules.push(name.1.trim().to_owned());
            }
            program.replace_range(at..end, &blank(&item));
        }
        Source {
            program,
            test_modules,
        }
    }

    /// Returns the words (identifiers and keywords) with their line numbers.
    pub fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let of_line = |line: &'_ str| -> Vec<(usize, usize)> {
            let mut found = Vec::new();
            let mut start = None;
            for (at, c) in line.char_indices().chain([(line.len(), ' ')]) {
                let inside = c.is_alphanumeric() || c == '_';
                match (inside, start) {
                    (true, None) => start = Some(at),
                    (false, Some(from)) => {
                        found.push((from, at));
                        start = None;
                    }
                    _ => {}
                }
            }
            found
        };
        self.program
            .lines()
            .zip(1..)
            .flat_map(move |(line, number)| {
                of_line(line)
                    .into_iter()
                    .map(move |(from, to)| (number, &line[from..to]))
            })
    }
}

fn blank(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\n' { '\n' } else { ' ' })
        .collect()
}

/// Replaces comments and string, byte and character literals by spaces.
fn without_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let word_before =
            at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = (!word_before).then(|| raw_string(rest)).flatten() {
            length
        } else if rest.starts_with('"') {
            quoted(rest, '"')
        } else if rest.starts_with('\'') {
            character(rest).unwrap_or(0)
        } else {
            0
        };
        if length > 0 {
            out.push_str(&blank(&rest[..length]));
            at += length;
        } else {
            let c = rest.chars().next().expect("the rest is not empty");
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of `r"…"`, `r#"…"#`, `br"…"` or `cr"…"`.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| text.starts_with(prefix))?;
    let rest = &text[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let body = rest[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)?;
    Some(prefix.len() + hashes + 1 + end + close.len())
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + c.len_utf8();
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

/// Length of a character literal; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        return Some(quoted(text, '\''));
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

/// Finds an attribute that compiles its item for tests only.
fn find_test_attribute(program: &str) -> Option<usize> {
    ["#[cfg(test)]", "#[cfg(all(test", "#[test]"]
        .iter()
        .filter_map(|text| program.find(text))
        .min()
}

/// Returns where the item whose attributes start at `at` ends.
fn item_end(program: &str, at: usize) -> usize {
    let mut depth = 0_usize;
    let mut in_attribute = false;
    for (offset, c) in program[at..].char_indices() {
        match c {
            '#' if depth == 0 => in_attribute = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == ']' && in_attribute {
                    in_attribute = false;
                } else if depth == 0 && c == '}' {
                    return at + offset + 1;
                }
            }
            ';' if depth == 0 => return at + offset + 1,
            _ => {}
        }
    }
    program.len()
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn literals_comments_and_tests_are_blanked() {
        let text = r####"
use crate::kept; // crate::comment
/* crate::block /* nested */ crate::still */
const A: &str = "crate::string \" crate::more";
const B: &[u8] = br#"crate::raw " "#;
fn f<'a>(x: &'a str) -> char { let q = '"'; let e = '\''; crate::inline::call(x) }
#[cfg(test)]
#[path = "x.rs"]
mod proofs;
#[cfg(test)]
mod tests {
    use crate::test_only;
    fn g() { if true { } }
}
use crate::last;
"####;
        let source = Source::new(text);
        let after = |word: &str| source.words().any(|(_, found)| found == word);
        for kept in ["kept", "inline", "last"] {
            assert!(after(kept), "{kept} is lost\n{}", source.program);
        }
        for gone in [
            "comment",
            "block",
            "still",
            "string",
            "more",
            "raw",
            "test_only",
            "proofs",
        ] {
            assert!(!after(gone), "{gone} is left\n{}", source.program);
        }
        assert_eq!(source.test_modules, ["proofs"]);
        assert_eq!(
            source.words().find(|(_, word)| *word == "last").unwrap().0,
            15
        );
    }
}
