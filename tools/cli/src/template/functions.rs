//! The functions a template may call, and how values print.

use super::TemplateError;
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// All functions: Go's own, and those docker's and skopeo's users know.
pub const NAMES: [&str; 23] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print",
    "println", "printf", "json", "join", "split", "lower", "upper", "title", "pad", "truncate",
];

/// Characters `pad` and `printf` may add: a terminal's line is shorter.
const WIDTH: usize = 1000;

/// Checks that a function exists.
pub(super) fn known(name: &str) -> Result<String, TemplateError> {
    if NAMES.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(TemplateError::new(format!(
        "there is no function {name} (fields begin with a dot: .{name})"
    )))
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Cow<'_, Value>]) -> Result<Value, TemplateError> {
    let values: Vec<&Value> = arguments.iter().map(|argument| &**argument).collect();
    let wrong = || {
        let kinds: Vec<&str> = values.iter().map(|value| kind(value)).collect();
        TemplateError::new(format!(
            "{name} cannot be applied to ({})",
            kinds.join(", ")
        ))
    };
    match (name, &values[..]) {
        ("and", [.., last]) => {
            Ok((*values.iter().find(|value| !truth(value)).unwrap_or(last)).clone())
        }
        ("or", [.., last]) => {
            Ok((*values.iter().find(|value| truth(value)).unwrap_or(last)).clone())
        }
        ("not", [value]) => Ok(Value::Bool(!truth(value))),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Ok(others.iter().any(|other| equal(first, other)).into())
        }
        ("ne", [left, right]) => Ok((!equal(left, right)).into()),
        ("lt" | "le" | "gt" | "ge", [left, right]) => {
            let order = compare(left, right).ok_or_else(wrong)?;
            Ok(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }
            .into())
        }
        ("len", [value]) => length(value).map(Value::from).ok_or_else(wrong),
        ("index", [value, keys @ ..]) => keys
            .iter()
            .try_fold((*value).clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) if bounds.len() <= 2 => {
            slice(value, bounds).ok_or_else(wrong)
        }
        ("print", _) => Ok(joined(&values, " ").into()),
        ("println", _) => Ok((joined(&values, " ") + "\n").into()),
        ("printf", [Value::String(format), rest @ ..]) => printf(format, rest).map(Value::from),
        ("json", [value]) => Ok(value.to_string().into()),
        // The other order is that of a pipeline.
        (
            "join",
            [Value::Array(items), Value::String(separator)]
            | [Value::String(separator), Value::Array(items)],
        ) => Ok(joined(&items.iter().collect::<Vec<_>>(), separator).into()),
        ("join", [Value::Null, _] | [_, Value::Null]) => Ok("".into()),
        ("split", [Value::String(text), Value::String(separator)]) => Ok(split(text, separator)),
        ("lower", [Value::String(text)]) => Ok(text.to_lowercase().into()),
        ("upper", [Value::String(text)]) => Ok(text.to_uppercase().into()),
        ("title", [Value::String(text)]) => Ok(title(text).into()),
        ("pad", [Value::String(text), before, after]) => {
            let (before, after) = (
                small(before).ok_or_else(wrong)?,
                small(after).ok_or_else(wrong)?,
            );
            match text.is_empty() {
                true => Ok("".into()),
                false => Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into()),
            }
        }
        ("truncate", [Value::String(text), count]) => {
            let count = count.as_u64().ok_or_else(wrong)?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Ok(text.chars().take(count).collect::<String>().into())
        }
        _ => Err(wrong()),
    }
}

/// Tells whether a value counts as true: Go's rule.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Names the kind of a value, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Prints a value as Go does.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", joined(&items.iter().collect::<Vec<_>>(), " ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", print(value)))
                .collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

fn joined(values: &[&Value], separator: &str) -> String {
    values
        .iter()
        .map(|value| print(value))
        .collect::<Vec<_>>()
        .join(separator)
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Null => Some(0),
        Value::String(text) => Some(text.len()),
        Value::Array(items) => Some(items.len()),
        Value::Object(map) => Some(map.len()),
        _ => None,
    }
}

/// An absent key is the empty text, as in Go's maps of texts; an absent place of a list is an error.
fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    let wrong = || {
        TemplateError::new(format!(
            "index cannot look for {} in {}",
            print(key),
            kind(value)
        ))
    };
    match (value, key) {
        (Value::Object(map), Value::String(key)) => {
            Ok(map.get(key).cloned().unwrap_or_else(|| "".into()))
        }
        (Value::Null, _) => Ok("".into()),
        (Value::Array(items), Value::Number(number)) => {
            let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| items.get(at)).cloned().ok_or_else(|| {
                TemplateError::new(format!(
                    "index {number} is out of range: the list has {} items",
                    items.len()
                ))
            })
        }
        _ => Err(wrong()),
    }
}

fn slice(value: &Value, bounds: &[&Value]) -> Option<Value> {
    let length = length(value)?;
    let bound = |at: usize, default| match bounds.get(at) {
        Some(bound) => bound.as_u64().and_then(|bound| usize::try_from(bound).ok()),
        None => Some(default),
    };
    let (start, end) = (bound(0, 0)?, bound(1, length)?);
    match value {
        Value::String(text) => text.get(start..end).map(Value::from),
        Value::Array(items) => items.get(start..end).map(|items| items.to_vec().into()),
        _ => None,
    }
}

fn split(text: &str, separator: &str) -> Value {
    match separator {
        "" => text.chars().map(|c| c.to_string()).collect(),
        _ => text.split(separator).collect(),
    }
}

/// Makes the first letter of each word a capital.
fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|character| {
            let capital = start && character.is_alphabetic();
            start = !(character.is_alphanumeric() || character == '\'' || character == '_');
            match capital {
                true => character.to_uppercase().collect::<Vec<_>>(),
                false => vec![character],
            }
        })
        .collect()
}

fn small(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?)
        .ok()
        .filter(|width| *width <= WIDTH)
}

/// What stands between `%` and its verb.
#[derive(Default)]
struct Flags {
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats as C and Go do: `%s %v %q %d %x %f %t %%` with `-`, `0`, a width and a precision.
fn printf(format: &str, values: &[&Value]) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(flag) = characters.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#')) {
            flags.left |= flag == '-';
            flags.zero |= flag == '0';
        }
        let mut number = || {
            let mut number = None;
            while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                let digit = digit.to_digit(10).unwrap_or(0) as usize;
                number = Some((number.unwrap_or(0) * 10 + digit).min(WIDTH));
            }
            number
        };
        flags.width = number().unwrap_or(0);
        if characters.next_if_eq(&'.').is_some() {
            let mut precision = 0;
            while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                precision = (precision * 10 + digit.to_digit(10).unwrap_or(0) as usize).min(WIDTH);
            }
            flags.precision = Some(precision);
        }
        let verb = characters
            .next()
            .ok_or_else(|| TemplateError::new("printf: % at the end"))?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values
            .next()
            .ok_or_else(|| TemplateError::new(format!("printf: nothing is left for %{verb}")))?;
        out.push_str(&padded(&one(verb, value, &flags)?, &flags));
    }
    match values.next() {
        None => Ok(out),
        Some(_) => Err(TemplateError::new("printf: more values than verbs")),
    }
}

fn one(verb: char, value: &Value, flags: &Flags) -> Result<String, TemplateError> {
    let cut = |text: String| match flags.precision {
        Some(count) => text.chars().take(count).collect(),
        None => text,
    };
    let wrong = || TemplateError::new(format!("printf: %{verb} cannot print {}", kind(value)));
    match verb {
        's' | 'v' => Ok(cut(print(value))),
        'q' => Ok(Value::from(cut(print(value))).to_string()),
        'd' => value
            .as_i64()
            .map(|number| number.to_string())
            .or_else(|| value.as_u64().map(|number| number.to_string()))
            .ok_or_else(wrong),
        'x' => match value {
            Value::String(text) => Ok(text.bytes().map(|byte| format!("{byte:02x}")).collect()),
            other => other
                .as_u64()
                .map(|number| format!("{number:x}"))
                .ok_or_else(wrong),
        },
        'f' => {
            let number = value.as_f64().ok_or_else(wrong)?;
            Ok(format!("{number:.*}", flags.precision.unwrap_or(6)))
        }
        't' => value
            .as_bool()
            .map(|value| value.to_string())
            .ok_or_else(wrong),
        _ => Err(TemplateError::new(format!("printf: unknown verb %{verb}"))),
    }
}

fn padded(text: &str, flags: &Flags) -> String {
    let missing = flags.width.saturating_sub(text.chars().count());
    match (flags.left, flags.zero) {
        (true, _) => format!("{text}{}", " ".repeat(missing)),
        (false, true) => {
            let (sign, digits) = text
                .strip_prefix('-')
                .map_or(("", text), |rest| ("-", rest));
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
        (false, false) => format!("{}{text}", " ".repeat(missing)),
    }
}
