//! What a scalar means to `kubectl`: YAML 1.1, in the form that its Go library gives it.

use super::{Number, Value};
use granit_parser::{ScalarStyle, Tag};

/// Kinds that a tag can ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    Text,
    Bool,
    Int,
    Float,
    Null,
}

fn wanted(style: ScalarStyle, tag: Option<&Tag>) -> Wanted {
    match tag {
        None if style == ScalarStyle::Plain => Wanted::Any,
        None => Wanted::Text,
        Some(tag) if tag.handle() == "tag:yaml.org,2002:" => match tag.suffix() {
            "bool" => Wanted::Bool,
            "int" => Wanted::Int,
            "float" => Wanted::Float,
            "null" => Wanted::Null,
            _ => Wanted::Text,
        },
        Some(_) => Wanted::Text,
    }
}

/// What a scalar means to `kubectl`.
pub(super) fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let wanted = wanted(style, tag);
    if wanted == Wanted::Text {
        return Ok(Value::String(text.to_owned()));
    }
    let value = plain_scalar(text);
    if let Value::Number(Number::Float(float)) = value
        && !float.is_finite()
    {
        return Err(format!(
            "json: unsupported value: {}",
            if float.is_nan() {
                "NaN"
            } else if float > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            }
        ));
    }
    let (fits, name) = match (wanted, &value) {
        (Wanted::Any, _) => (true, ""),
        (Wanted::Bool, value) => (matches!(value, Value::Bool(_)), "!!bool"),
        (Wanted::Int, value) => (matches!(value, Value::Number(Number::Int(_) | Number::Uint(_))), "!!int"),
        (Wanted::Float, value) => (matches!(value, Value::Number(_)), "!!float"),
        (Wanted::Null, value) => (matches!(value, Value::Null), "!!null"),
        (Wanted::Text, _) => (true, ""),
    };
    if fits {
        return Ok(value);
    }
    let found = match value {
        Value::Null => "!!null",
        Value::Bool(_) => "!!bool",
        Value::Number(Number::Float(_)) => "!!float",
        Value::Number(_) => "!!int",
        _ => "!!str",
    };
    Err(format!("yaml: cannot decode {found} `{text}` as a {name}"))
}

fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Value::Number(Number::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Number(Number::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Number(Number::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let number = match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'+' | b'-') => integer(text).or_else(|| float(&text.replace('_', ""))),
        Some(b'.') => float(text),
        _ => None,
    };
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// Integers with Go's prefixes: `0x`, `0o`, `0b`, and a leading `0` for octal; underscores count for nothing.
fn integer(text: &str) -> Option<Number> {
    let plain = text.replace('_', "");
    let (negative, signed) = match plain.as_bytes().first()? {
        b'-' => (true, true),
        b'+' => (false, true),
        _ => (false, false),
    };
    let digits = if signed { &plain[1..] } else { &plain[..] };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match (negative, i64::try_from(magnitude)) {
        (false, Ok(value)) => Some(Number::Int(value)),
        (true, Ok(value)) => Some(Number::Int(-value)),
        (true, Err(_)) if magnitude == i64::MIN.unsigned_abs() => Some(Number::Int(i64::MIN)),
        (false, Err(_)) if !signed => Some(Number::Uint(magnitude)),
        _ => None,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(a, b)| (a, Some(b)));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits =
        digits(whole) && fraction.is_none_or(digits) && mantissa.bytes().any(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|part| {
        let part = part.strip_prefix(['-', '+']).unwrap_or(part);
        !part.is_empty() && digits(part)
    });
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Beyond its range the library takes the text as a string.
    if !value.is_finite() {
        return None;
    }
    // JSON writes a float without a fraction as an integer, up to 1e21.
    #[allow(clippy::cast_possible_truncation, reason = "checked to be in range and whole")]
    let number = if value.fract() == 0.0 && value.abs() < 9.0e18 {
        Number::Int(value as i64)
    } else {
        Number::Float(value)
    };
    Some(number)
}
