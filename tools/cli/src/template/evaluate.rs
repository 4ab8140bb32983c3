//! From a tree and data to text.

use super::TemplateError;
use super::functions::{self, print, truth};
use super::parse::{Node, Operand, Pipeline};
use serde_json::Value;
use std::borrow::Cow;

type Found<'d> = Cow<'d, Value>;

/// Bytes a template may write: a loop in a loop over many layers is nobody's wish.
const OUTPUT_BYTES: usize = 256 << 20;

/// Renders nodes.
pub(super) fn render(nodes: &[Node], data: &Value) -> Result<String, TemplateError> {
    let mut renderer = Renderer {
        root: data,
        variables: vec![(String::new(), Cow::Borrowed(data))],
        out: String::new(),
    };
    renderer.nodes(nodes, &Cow::Borrowed(data))?;
    Ok(renderer.out)
}

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Renderer<'d> {
    root: &'d Value,
    /// The innermost last.
    variables: Vec<(String, Found<'d>)>,
    out: String,
}

impl<'d> Renderer<'d> {
    fn nodes(&mut self, nodes: &[Node], dot: &Found<'d>) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let flow = nodes
            .iter()
            .map(|node| self.node(node, dot))
            .find(|flow| !matches!(flow, Ok(Flow::On)))
            .unwrap_or(Ok(Flow::On));
        self.variables.truncate(scope);
        flow
    }

    fn node(&mut self, node: &Node, dot: &Found<'d>) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Output(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.names.is_empty() {
                    self.write(&print(&value))?;
                } else {
                    self.assign(&pipeline.names[0], pipeline.declares, value)?;
                }
            }
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let value = self.pipeline(condition, dot)?;
                let branch = if truth(&value) { then } else { otherwise };
                return self.scoped(condition, value, |this| this.nodes(branch, dot));
            }
            Node::With {
                value,
                then,
                otherwise,
            } => {
                let found = self.pipeline(value, dot)?;
                let (branch, inner) = match truth(&found) {
                    true => (then, found.clone()),
                    false => (otherwise, dot.clone()),
                };
                return self.scoped(value, found, |this| this.nodes(branch, &inner));
            }
            Node::Range {
                over,
                body,
                otherwise,
            } => return self.range(over, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    /// Runs a branch with the variable its condition declares, which ends with it.
    fn scoped(
        &mut self,
        pipeline: &Pipeline,
        value: Found<'d>,
        branch: impl FnOnce(&mut Self) -> Result<Flow, TemplateError>,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        if let Some(name) = pipeline.names.first() {
            self.assign(name, pipeline.declares, value)?;
        }
        let flow = branch(self);
        self.variables.truncate(scope);
        flow
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Found<'d>,
    ) -> Result<Flow, TemplateError> {
        let items = items(self.pipeline(over, dot)?)?;
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, item) in items {
            let scope = self.variables.len();
            let named: Vec<Found<'d>> = match over.names.len() {
                2 => vec![Cow::Owned(key), item.clone()],
                1 => vec![item.clone()],
                _ => Vec::new(),
            };
            for (name, value) in over.names.iter().zip(named) {
                self.assign(name, over.declares, value)?;
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn write(&mut self, text: &str) -> Result<(), TemplateError> {
        if self.out.len() + text.len() > OUTPUT_BYTES {
            return Err(TemplateError::new("it writes more than anybody can read"));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn assign(
        &mut self,
        name: &str,
        declares: bool,
        value: Found<'d>,
    ) -> Result<(), TemplateError> {
        if declares {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        let known = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name);
        match known {
            Some((_, old)) => {
                *old = value;
                Ok(())
            }
            None => Err(no_variable(name)),
        }
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Found<'d>) -> Result<Found<'d>, TemplateError> {
        let mut piped: Option<Found<'d>> = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        piped.ok_or_else(|| TemplateError::new("an action is empty"))
    }

    fn command(
        &self,
        command: &[Operand],
        piped: Option<Found<'d>>,
        dot: &Found<'d>,
    ) -> Result<Found<'d>, TemplateError> {
        if let [Operand::Function(name), operands @ ..] = command {
            let mut arguments = Vec::with_capacity(operands.len() + 1);
            for operand in operands {
                let argument = self.operand(operand, dot)?;
                let decided = match name.as_str() {
                    "and" => !truth(&argument),
                    "or" => truth(&argument),
                    _ => false,
                };
                arguments.push(argument);
                // As in Go, what comes after is not even looked at.
                if decided {
                    break;
                }
            }
            arguments.extend(piped);
            return functions::call(name, &arguments).map(Cow::Owned);
        }
        match (command, piped) {
            ([operand], None) => self.operand(operand, dot),
            _ => Err(TemplateError::new(
                "a value that is no function gets arguments",
            )),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Found<'d>) -> Result<Found<'d>, TemplateError> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Literal(value) => Ok(Cow::Owned(value.clone())),
            Operand::Function(name) => functions::call(name, &[]).map(Cow::Owned),
            Operand::Nested(pipeline) => self.pipeline(pipeline, dot),
            Operand::Variable(name) => self
                .variables
                .iter()
                .rev()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
                .ok_or_else(|| no_variable(name)),
            Operand::Fields(of, names) => {
                let mut found = match &**of {
                    Operand::Dot => dot.clone(),
                    other => self.operand(other, dot)?,
                };
                for name in names {
                    found = self.field(found, name)?;
                }
                Ok(found)
            }
        }
    }

    fn field(&self, of: Found<'d>, name: &str) -> Result<Found<'d>, TemplateError> {
        let at_root = matches!(&of, Cow::Borrowed(value) if std::ptr::eq(*value, self.root));
        let key = match &*of {
            Value::Object(map) => key_of(map, name).map(str::to_owned),
            Value::Null => None,
            other => {
                return Err(TemplateError::new(format!(
                    "{} has no field {name}",
                    functions::kind(other)
                )));
            }
        };
        match (key, of) {
            (Some(key), Cow::Borrowed(Value::Object(map))) => Ok(Cow::Borrowed(&map[&key])),
            (Some(key), Cow::Owned(mut value)) => Ok(Cow::Owned(value[&key].take())),
            (_, Cow::Borrowed(Value::Object(map))) if at_root => {
                let known: Vec<&str> = map.keys().map(String::as_str).collect();
                Err(TemplateError::new(format!(
                    "there is no field {name} (there are: {})",
                    known.join(", ")
                )))
            }
            _ => Ok(Cow::Owned(Value::Null)),
        }
    }
}

/// Finds a key as it is written, else the only one that differs in case.
fn key_of<'m>(map: &'m serde_json::Map<String, Value>, name: &str) -> Option<&'m str> {
    if let Some((key, _)) = map.get_key_value(name) {
        return Some(key);
    }
    let mut similar = map.keys().filter(|key| key.eq_ignore_ascii_case(name));
    match (similar.next(), similar.next()) {
        (Some(key), None) => Some(key),
        _ => None,
    }
}

/// Returns what a range goes through, with its keys.
fn items(value: Found<'_>) -> Result<Vec<(Value, Found<'_>)>, TemplateError> {
    let number = |at: usize| Value::from(at);
    match value {
        Cow::Borrowed(Value::Array(items)) => Ok(items
            .iter()
            .enumerate()
            .map(|(at, item)| (number(at), Cow::Borrowed(item)))
            .collect()),
        Cow::Borrowed(Value::Object(map)) => Ok(map
            .iter()
            .map(|(key, item)| (Value::from(key.as_str()), Cow::Borrowed(item)))
            .collect()),
        Cow::Owned(Value::Array(items)) => Ok(items
            .into_iter()
            .enumerate()
            .map(|(at, item)| (number(at), Cow::Owned(item)))
            .collect()),
        Cow::Owned(Value::Object(map)) => Ok(map
            .into_iter()
            .map(|(key, item)| (Value::from(key), Cow::Owned(item)))
            .collect()),
        other if other.is_null() => Ok(Vec::new()),
        other => Err(TemplateError::new(format!(
            "range cannot go through {}",
            functions::kind(&other)
        ))),
    }
}

fn no_variable(name: &str) -> TemplateError {
    TemplateError::new(format!("there is no variable ${name}"))
}
