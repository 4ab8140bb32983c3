//! From tokens to a tree.

use super::TemplateError;
use super::lex::{Piece, Token, Word};
use serde_json::Value;

/// How deep control structures and parentheses may be inside each other: both are parsed by recursion.
const DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Output(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// The variables before `:=` or `=`.
    pub(super) names: Vec<String>,
    /// Whether they are new ones.
    pub(super) declares: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Nested(Box<Pipeline>),
    Fields(Box<Operand>, Vec<String>),
}

/// What ends a list of nodes.
#[derive(Debug, PartialEq)]
enum Stop {
    Input,
    End,
    Else(Vec<Token>),
}

/// Parses a template.
pub(super) fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        pieces: pieces.into_iter(),
        loops: 0,
    };
    let (nodes, stop) = parser.nodes(0)?;
    match stop {
        Stop::Input => Ok(nodes),
        Stop::End => Err(TemplateError::new("{{end}} ends nothing")),
        Stop::Else(_) => Err(TemplateError::new("{{else}} belongs to nothing")),
    }
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    loops: usize,
}

impl Parser {
    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, Stop), TemplateError> {
        if depth > DEPTH {
            return Err(TemplateError::new("it is nested too deep"));
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let keyword = match tokens.first().map(|token| &token.what) {
                Some(Word::Identifier(name)) => name.clone(),
                _ => String::new(),
            };
            let rest = || tokens[1..].to_vec();
            match keyword.as_str() {
                "end" if tokens.len() == 1 => return Ok((nodes, Stop::End)),
                "else" => return Ok((nodes, Stop::Else(rest()))),
                "if" | "with" => nodes.push(self.conditional(&keyword, &rest(), depth)?),
                "range" => nodes.push(self.range(&rest(), depth)?),
                "break" | "continue" if tokens.len() == 1 && self.loops > 0 => {
                    nodes.push(match keyword.as_str() {
                        "break" => Node::Break,
                        _ => Node::Continue,
                    });
                }
                "define" | "template" | "block" => {
                    return Err(TemplateError::new(format!(
                        "{{{{{keyword}}}}} is not supported"
                    )));
                }
                _ => nodes.push(Node::Output(pipeline(&tokens, false)?)),
            }
        }
        Ok((nodes, Stop::Input))
    }

    fn conditional(
        &mut self,
        keyword: &str,
        tokens: &[Token],
        depth: usize,
    ) -> Result<Node, TemplateError> {
        let condition = pipeline(tokens, false)?;
        let (then, stop) = self.nodes(depth + 1)?;
        let otherwise = self.otherwise(keyword, stop, depth)?;
        Ok(match keyword {
            "if" => Node::If {
                condition,
                then,
                otherwise,
            },
            _ => Node::With {
                value: condition,
                then,
                otherwise,
            },
        })
    }

    /// Parses what follows `{{else}}`; `{{else if}}` is an `if` of its own that shares the `{{end}}`.
    fn otherwise(
        &mut self,
        keyword: &str,
        stop: Stop,
        depth: usize,
    ) -> Result<Vec<Node>, TemplateError> {
        let unclosed = || TemplateError::new(format!("{{{{{keyword}}}}} has no {{{{end}}}}"));
        match stop {
            Stop::Input => Err(unclosed()),
            Stop::End => Ok(Vec::new()),
            Stop::Else(tokens) if tokens.is_empty() => match self.nodes(depth + 1)? {
                (nodes, Stop::End) => Ok(nodes),
                (_, Stop::Else(_)) => Err(TemplateError::new("{{else}} twice")),
                (_, Stop::Input) => Err(unclosed()),
            },
            Stop::Else(tokens) => match &tokens[0].what {
                Word::Identifier(name) if name == keyword && keyword != "range" => {
                    if depth > DEPTH {
                        return Err(TemplateError::new("it has too many {{else if}}"));
                    }
                    Ok(vec![self.conditional(keyword, &tokens[1..], depth + 1)?])
                }
                _ => Err(TemplateError::new(format!(
                    "only {keyword} can follow else here"
                ))),
            },
        }
    }

    fn range(&mut self, tokens: &[Token], depth: usize) -> Result<Node, TemplateError> {
        let over = pipeline(tokens, true)?;
        self.loops += 1;
        let body = self.nodes(depth + 1);
        self.loops -= 1;
        let (body, stop) = body?;
        let otherwise = self.otherwise("range", stop, depth)?;
        Ok(Node::Range {
            over,
            body,
            otherwise,
        })
    }
}

fn pipeline(tokens: &[Token], in_range: bool) -> Result<Pipeline, TemplateError> {
    let mut words = Words { tokens, at: 0 };
    let pipeline = words.pipeline(in_range, 0)?;
    match words.next() {
        None => Ok(pipeline),
        Some(_) => Err(TemplateError::new("a parenthesis closes nothing")),
    }
}

struct Words<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl<'t> Words<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'t Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    fn pipeline(&mut self, in_range: bool, depth: usize) -> Result<Pipeline, TemplateError> {
        if depth > DEPTH {
            return Err(TemplateError::new("parentheses are nested too deep"));
        }
        let (names, declares) = self.names(in_range)?;
        let mut commands = vec![Vec::new()];
        loop {
            let command = commands
                .last_mut()
                .expect("there is one from the beginning");
            match self.peek().map(|token| &token.what) {
                None | Some(Word::Close) => break,
                Some(Word::Pipe) => {
                    self.at += 1;
                    commands.push(Vec::new());
                }
                Some(_) => command.push(self.operand(depth)?),
            }
        }
        if commands.iter().any(Vec::is_empty) {
            return Err(TemplateError::new(
                "an action or a part of a pipeline is empty",
            ));
        }
        Ok(Pipeline {
            names,
            declares,
            commands,
        })
    }

    /// Reads `$x :=`, `$x =` and, in a range, `$i, $x :=`.
    fn names(&mut self, in_range: bool) -> Result<(Vec<String>, bool), TemplateError> {
        let what = |at: usize| self.tokens.get(self.at + at).map(|token| &token.what);
        let (names, length) = match (what(0), what(1), what(2), what(3)) {
            (
                Some(Word::Variable(first)),
                Some(Word::Comma),
                Some(Word::Variable(second)),
                Some(Word::Declare | Word::Assign),
            ) if in_range => (vec![first.clone(), second.clone()], 3),
            (Some(Word::Variable(name)), Some(Word::Declare | Word::Assign), _, _) => {
                (vec![name.clone()], 1)
            }
            _ => return Ok((Vec::new(), false)),
        };
        if names.iter().any(String::is_empty) {
            return Err(TemplateError::new("$ cannot be changed"));
        }
        let declares = what(length) == Some(&Word::Declare);
        self.at += length + 1;
        Ok((names, declares))
    }

    fn operand(&mut self, depth: usize) -> Result<Operand, TemplateError> {
        let token = self
            .next()
            .ok_or_else(|| TemplateError::new("it ends too early"))?;
        let first = match &token.what {
            Word::Dot => Operand::Dot,
            Word::Field(name) => Operand::Fields(Box::new(Operand::Dot), vec![name.clone()]),
            Word::Variable(name) => Operand::Variable(name.clone()),
            Word::Literal(value) => Operand::Literal(value.clone()),
            Word::Identifier(name) => Operand::Function(super::functions::known(name)?),
            Word::Open => {
                let nested = self.pipeline(false, depth + 1)?;
                match self.next().map(|token| &token.what) {
                    Some(Word::Close) => Operand::Nested(Box::new(nested)),
                    _ => return Err(TemplateError::new("a parenthesis is never closed")),
                }
            }
            Word::Pipe | Word::Close | Word::Comma | Word::Declare | Word::Assign => {
                return Err(TemplateError::new(
                    "an operator stands where a value is wanted",
                ));
            }
        };
        let mut fields = Vec::new();
        while let Some(Token {
            what: Word::Field(name),
            glued: true,
        }) = self.peek()
        {
            fields.push(name.clone());
            self.at += 1;
        }
        Ok(match (first, fields.is_empty()) {
            (first, true) => first,
            (Operand::Fields(of, mut names), false) => {
                names.extend(fields);
                Operand::Fields(of, names)
            }
            (first, false) => Operand::Fields(Box::new(first), fields),
        })
    }
}
