//! Which parts of its own crate does a file name? `use` trees and paths in the middle of the program alike.

use super::Source;

/// A name of the crate's root that a file uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The first name after `crate::` (or after enough `super::`).
    pub name: String,
    /// Line in the file.
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Path,
    Sign(char),
}

/// Finds the names of the crate's root which a file uses. `depth` is the number of modules the file lies below the root: 1 for
/// `src/name.rs` and `src/name/mod.rs`, 2 for `src/name/part.rs`.
pub fn imports(source: &Source, depth: usize) -> Vec<Import> {
    let tokens = tokens(&source.program);
    let mut found = Vec::new();
    // Brace depths at which inline modules end: each moves `super` one level down.
    let mut inline: Vec<usize> = Vec::new();
    let mut braces = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        let (line, token) = &tokens[at];
        match token {
            Token::Sign('{') => {
                braces += 1;
                if at >= 2 && tokens[at - 2].1 == Token::Word("mod") {
                    inline.push(braces);
                }
            }
            Token::Sign('}') => {
                inline.retain(|&end| end != braces);
                braces = braces.saturating_sub(1);
            }
            Token::Word(word @ ("crate" | "super")) if starts_path(&tokens, at) => {
                let mut supers = usize::from(*word == "super");
                let mut next = at + 1;
                while tokens.get(next).map(|token| &token.1) == Some(&Token::Path)
                    && tokens.get(next + 1).map(|token| &token.1) == Some(&Token::Word("super"))
                {
                    (supers, next) = (supers + 1, next + 2);
                }
                let at_root = *word == "crate" || supers == depth + inline.len();
                if at_root && tokens.get(next).map(|token| &token.1) == Some(&Token::Path) {
                    names(&tokens[next + 1..], *line, &mut found);
                }
                at = next;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Tells whether the word at `at` begins a path and is no visibility (`pub(in crate::x)` is no import).
fn starts_path(tokens: &[(usize, Token<'_>)], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| &tokens[before].1);
    let visibility = before == Some(&Token::Word("in"));
    before != Some(&Token::Path)
        && !visibility
        && tokens.get(at + 1).map(|token| &token.1) == Some(&Token::Path)
}

/// Adds the first name of a path, or of each branch of a `{…}` tree.
fn names(tokens: &[(usize, Token<'_>)], line: usize, found: &mut Vec<Import>) {
    let mut add = |word: &str, line| {
        if word != "self" {
            found.push(Import {
                name: word.to_owned(),
                line,
            });
        }
    };
    match tokens.first() {
        Some((_, Token::Word(word))) => add(word, line),
        Some((_, Token::Sign('*'))) => add("*", line),
        Some((_, Token::Sign('{'))) => {
            let mut depth = 0;
            let mut fresh = false;
            for (line, token) in tokens {
                match token {
                    Token::Sign('{') => (depth, fresh) = (depth + 1, depth == 0),
                    Token::Sign('}') if depth == 1 => return,
                    Token::Sign('}') => depth -= 1,
                    Token::Sign(',') if depth == 1 => fresh = true,
                    Token::Word(word) if fresh => {
                        add(word, *line);
                        fresh = false;
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn tokens(program: &str) -> Vec<(usize, Token<'_>)> {
    let mut found = Vec::new();
    for (line, number) in program.lines().zip(1..) {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let length = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            if length > 0 {
                found.push((number, Token::Word(&rest[..length])));
                rest = &rest[length..];
            } else if let Some(tail) = rest.strip_prefix("::") {
                found.push((number, Token::Path));
                rest = tail;
            } else {
                if !c.is_whitespace() {
                    found.push((number, Token::Sign(c)));
                }
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::imports;
    use crate::house::Source;

    fn names(text: &str, depth: usize) -> Vec<String> {
        imports(&Source::new(text), depth)
            .into_iter()
            .map(|import| import.name)
            .collect()
    }

    #[test]
    fn every_form_of_path_is_seen() {
        for (text, expected) in [
            ("use crate::store::Store;", vec!["store"]),
            (
                "pub use crate::{a, b::{c, d}, e::f as g, self};",
                vec!["a", "b", "e"],
            ),
            (
                "use crate::{\n  a::{self, x::{y}},\n  b,\n};",
                vec!["a", "b"],
            ),
            (
                "fn f() { crate :: inline::g(); let x: crate::Type = 1; }",
                vec!["inline", "Type"],
            ),
            (
                "pub(crate) fn f() {} pub(in crate::hidden) fn g() {}",
                vec![],
            ),
            ("use other::crate_like; use ::crate_x::y;", vec![]),
            (
                "macro_rules! m { () => { $crate::from_macro::f() } }",
                vec!["from_macro"],
            ),
            ("use crate::*;", vec!["*"]),
        ] {
            assert_eq!(names(text, 1), expected, "{text}");
        }
    }

    #[test]
    fn super_is_followed_up_to_the_root() {
        for (text, depth, expected) in [
            ("use super::other;", 1, vec!["other"]),
            ("use super::sibling;", 2, vec![]),
            (
                "use super::super::{other, third::x};",
                2,
                vec!["other", "third"],
            ),
            (
                "mod inner { use super::mine; use super::super::other; } use super::last;",
                1,
                vec!["other", "last"],
            ),
        ] {
            assert_eq!(names(text, depth), expected, "{text}");
        }
    }
}
