//! From text to tokens.

use super::TemplateError;
use serde_json::{Number, Value};

/// A piece of a template: text as it is, or the tokens of one action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// A word inside of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) what: Word,
    /// Whether it stands right behind the one before: `.A.B` is one operand, `.A .B` are two.
    pub(super) glued: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Dot,
    Field(String),
    /// Without its `$`; the data itself is the empty one.
    Variable(String),
    Identifier(String),
    Literal(Value),
    Pipe,
    Open,
    Close,
    Comma,
    Declare,
    Assign,
}

/// Splits a template.
pub(super) fn lex(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(open) = rest.find("{{") {
        let (before, action) = rest.split_at(open);
        let action = &action[2..];
        let (action, trim_before) = match action.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => (inner, true),
            _ => (action, false),
        };
        push_text(&mut pieces, before, trim_next, trim_before);
        let (inside, after) = inside(action)?;
        trim_next = inside.ends_with('-')
            && inside[..inside.len() - 1]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace);
        let inside = if trim_next {
            &inside[..inside.len() - 1]
        } else {
            inside
        };
        let comment = inside.trim();
        if !(comment.starts_with("/*") && comment.ends_with("*/")) {
            pieces.push(Piece::Action(tokens(inside)?));
        }
        rest = after;
    }
    push_text(&mut pieces, rest, trim_next, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Finds the end of an action, which may hold `}}` in a string.
fn inside(action: &str) -> Result<(&str, &str), TemplateError> {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in action.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '"' | '`') => quote = Some(character),
            None if action[at..].starts_with("}}") => {
                return Ok((&action[..at], &action[at + 2..]));
            }
            None => {}
        }
    }
    let shown: String = action.chars().take(40).collect();
    Err(TemplateError::new(format!(
        "the action {{{{{shown} is never closed"
    )))
}

fn tokens(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { rest: text };
    let mut tokens = Vec::new();
    loop {
        let trimmed = lexer.rest.trim_start();
        let glued = trimmed.len() == lexer.rest.len() && !tokens.is_empty();
        lexer.rest = trimmed;
        if trimmed.is_empty() {
            return Ok(tokens);
        }
        let what = lexer.word()?;
        tokens.push(Token { what, glued });
    }
}

struct Lexer<'t> {
    rest: &'t str,
}

impl Lexer<'_> {
    fn word(&mut self) -> Result<Word, TemplateError> {
        for (mark, word) in [
            (":=", Word::Declare),
            ("=", Word::Assign),
            ("|", Word::Pipe),
            ("(", Word::Open),
            (")", Word::Close),
            (",", Word::Comma),
        ] {
            if let Some(rest) = self.rest.strip_prefix(mark) {
                self.rest = rest;
                return Ok(word);
            }
        }
        let first = self.rest.chars().next().unwrap_or_default();
        match first {
            '"' => self.string(),
            '`' => self.raw_string(),
            '$' => {
                self.rest = &self.rest[1..];
                Ok(Word::Variable(self.name()))
            }
            '.' if !self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.rest = &self.rest[1..];
                let name = self.name();
                Ok(match name.is_empty() {
                    true => Word::Dot,
                    false => Word::Field(name),
                })
            }
            '.' | '-' | '+' | '0'..='9' => self.number(),
            _ if is_name(first) => {
                let name = self.name();
                Ok(match name.as_str() {
                    "true" => Word::Literal(Value::Bool(true)),
                    "false" => Word::Literal(Value::Bool(false)),
                    "nil" => Word::Literal(Value::Null),
                    _ => Word::Identifier(name),
                })
            }
            _ => Err(TemplateError::new(format!("unexpected {first:?}"))),
        }
    }

    fn take(&mut self, length: usize) -> &str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn name(&mut self) -> String {
        let end = self
            .rest
            .find(|c: char| !is_name(c))
            .unwrap_or(self.rest.len());
        self.take(end).to_owned()
    }

    fn number(&mut self) -> Result<Word, TemplateError> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let text = self.take(end);
        let whole = text.parse::<i64>().ok().map(Number::from);
        let number = whole.or_else(|| text.parse().ok().and_then(Number::from_f64));
        match number {
            Some(number) => Ok(Word::Literal(Value::Number(number))),
            None => Err(TemplateError::new(format!("{text:?} is no number"))),
        }
    }

    fn raw_string(&mut self) -> Result<Word, TemplateError> {
        let rest = &self.rest[1..];
        let end = rest
            .find('`')
            .ok_or_else(|| TemplateError::new("a string is never closed"))?;
        self.rest = &rest[end + 1..];
        Ok(Word::Literal(Value::from(&rest[..end])))
    }

    fn string(&mut self) -> Result<Word, TemplateError> {
        let mut out = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Word::Literal(Value::from(out)));
                }
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(same @ ('"' | '\\')) => out.push(same),
                    other => {
                        return Err(TemplateError::new(format!(
                            "unknown escape \\{} in a string",
                            other.unwrap_or_default()
                        )));
                    }
                },
                other => out.push(other),
            }
        }
        Err(TemplateError::new("a string is never closed"))
    }
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
