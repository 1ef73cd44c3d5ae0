//! Durations as kubectl takes them, which is as Go writes them (`time.ParseDuration`): `90s`, `1h30m`, `1.5h`, `0`.

use std::time::Duration;

/// The units, in nanoseconds.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Parses a duration that is not negative, in Go's words where it is none. Pure.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() || rest.starts_with('-') {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, nanoseconds) =
            known.ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        seconds += number * nanoseconds / 1e9;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn as_go_has_it() {
        for (text, ms) in
            [("0", 0), ("5s", 5000), ("1h30m", 5_400_000), ("1.5m", 90_000), ("+2ms", 2), ("1m.5s", 60_500)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, words) in [
            ("abc", "invalid duration \"abc\""),
            ("", "invalid duration \"\""),
            ("-5s", "invalid duration \"-5s\""),
            (".s", "invalid duration \".s\""),
            ("1e30h", "unknown unit \"e\" in duration \"1e30h\""),
            ("30", "missing unit in duration \"30\""),
            ("3d", "unknown unit \"d\" in duration \"3d\""),
        ] {
            assert_eq!(parse(text), Err(format!("time: {words}")));
        }
        assert!(parse(&format!("{}h", "9".repeat(40))).is_err());
    }
}
