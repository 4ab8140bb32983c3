//! Templates as Go's users write them, over JSON: the part of `text/template` that people use to print what an image is.
//!
//! ```
//! use serde_json::json;
//! use trimaran_cli::template::Template;
//! let image = json!({"Name": "debian", "Layers": [{"Size": 1}, {"Size": 2}]});
//! let template: Template = "{{.Name}}:{{range .Layers}} {{.Size}}{{end}}".parse()?;
//! assert_eq!(template.render(&image)?, "debian: 1 2");
//! # Ok::<(), trimaran_cli::template::TemplateError>(())
//! ```
//!
//! There are fields (`.A.B`), variables, pipelines, parentheses, literals, `if`, `else if`, `range` (also `$i, $e :=`), `with`,
//! `break`, `continue`, comments, trim marks (`{{-`, `-}}`), and the functions of [`functions::NAMES`]. A field is found whatever
//! its letters' case, if it is unambiguous. The first level knows its fields: another name there is an error, deeper ones print
//! `<no value>` as Go does for maps.
//!
//! # Limitations
//! No `define`, `template` and `block`, no methods, no complex numbers. Lists and maps print as Go prints them (`[a b]`,
//! `map[k:v]`), with keys in order.

mod evaluate;
pub mod functions;
mod lex;
mod parse;

use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// Bytes a template may have: nobody types more.
const TEMPLATE_BYTES: usize = 64 << 10;

/// A template, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    message: String,
}

impl TemplateError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the template cannot be used: {}", self.message)
    }
}

impl std::error::Error for TemplateError {}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES {
            return Err(TemplateError::new(format!(
                "it has more than {TEMPLATE_BYTES} bytes"
            )));
        }
        let nodes = parse::parse(lex::lex(text)?)?;
        Ok(Self { nodes })
    }
}

impl Template {
    /// Renders a value.
    ///
    /// # Errors
    /// A field of the first level does not exist, or a function cannot be applied to its arguments.
    pub fn render(&self, data: &Value) -> Result<String, TemplateError> {
        evaluate::render(&self.nodes, data)
    }
}

/// The form in which a verb prints its result: `text`, `json`, or a template.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Shape {
    /// For people.
    #[default]
    Text,
    /// All of it, as JSON.
    Json,
    /// What the template says.
    Template(Template),
}

impl FromStr for Shape {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ if text.contains("{{") => unescape(text).parse().map(Self::Template),
            _ => Err(TemplateError::new(format!(
                "{text:?} is neither text, json nor a template such as {{{{.Digest}}}}"
            ))),
        }
    }
}

/// Shells hand over `\n` and `\t` as they were typed: outside of actions they mean what people mean.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let (before, action) = rest.split_at(open);
        out.push_str(&before.replace("\\n", "\n").replace("\\t", "\t"));
        let end = action.find("}}").map_or(action.len(), |at| at + 2);
        out.push_str(&action[..end]);
        rest = &action[end..];
    }
    out.push_str(&rest.replace("\\n", "\n").replace("\\t", "\t"));
    out
}

#[cfg(test)]
mod tests;
