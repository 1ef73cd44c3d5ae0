//! `resource.Quantity`: parsing, comparing and writing amounts as the API server does
//! (`k8s.io/apimachinery/pkg/api/resource`).

use std::cmp::Ordering;

/// A quantity as an exact number: `mantissa × 10^exponent`, with the suffix family that it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    /// In units of 10^-9, rounded up like the API server does; saturates at what an `i128` holds.
    nanos: i128,
    format: Format,
}

/// The family of suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `Ki`, `Mi`, …
    Binary,
    /// `k`, `M`, `m`, …
    Decimal,
    /// `e3`
    Exponent,
}

/// Why a text is no quantity, in the API server's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Wrong form.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The suffix is none.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// Reads a quantity such as `100m`, `1.5Gi` or `2e3`.
    ///
    /// # Errors
    /// In the words of the API server.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
        let negative = text.starts_with('-');
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(number_end);
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let (whole, fraction) = match number.split_once('.') {
            // What follows a second point does not belong to the number.
            Some((_, fraction)) if fraction.contains('.') => return Err(QuantityError::Format),
            Some(parts) => parts,
            None => (number, ""),
        };
        let letters_end = suffix.find(|c: char| !"eEinumkKMGTP".contains(c)).unwrap_or(suffix.len());
        let tail = suffix[letters_end..].strip_prefix(['+', '-']).unwrap_or(&suffix[letters_end..]);
        if !tail.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        let (base, power, format) = suffix_of(suffix).ok_or(QuantityError::Suffix)?;
        let nanos = amount(whole, fraction, base, power);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }

    /// The value in whole units, rounded up.
    #[must_use]
    pub fn value(self) -> i64 {
        saturate(ceil_div(self.nanos, NANO))
    }

    /// The value in thousandths, rounded up: how CPU is counted.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        saturate(ceil_div(self.nanos, NANO / 1000))
    }

    /// The sum, in the family of suffixes that this is written in.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos), format: self.format }
    }

    /// Less than nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// A whole number of units.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// The canonical form: the largest suffix that leaves no fraction.
    #[must_use]
    pub fn canonical(self) -> String {
        if self.nanos == 0 {
            return "0".into();
        }
        let (nanos, sign) = (self.nanos.unsigned_abs(), if self.nanos < 0 { "-" } else { "" });
        let units = nanos / NANO.unsigned_abs();
        if self.format == Format::Binary && nanos % NANO.unsigned_abs() == 0 && units >= 1024 {
            let mut units = units;
            let mut suffix = "";
            for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
                if !units.is_multiple_of(1024) {
                    break;
                }
                units /= 1024;
                suffix = next;
            }
            return format!("{sign}{units}{suffix}");
        }
        let mut mantissa = nanos;
        let mut exponent = -9_i32;
        while mantissa.is_multiple_of(1000) && exponent < 18 {
            mantissa /= 1000;
            exponent += 3;
        }
        let suffix = match (self.format, exponent) {
            (_, 0) => String::new(),
            (Format::Exponent, exponent) => format!("e{exponent}"),
            (_, -9) => "n".into(),
            (_, -6) => "u".into(),
            (_, -3) => "m".into(),
            (_, 3) => "k".into(),
            (_, 6) => "M".into(),
            (_, 9) => "G".into(),
            (_, 12) => "T".into(),
            (_, 15) => "P".into(),
            _ => "E".into(),
        };
        format!("{sign}{mantissa}{suffix}")
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

fn suffix_of(suffix: &str) -> Option<(i128, i32, Format)> {
    Some(match suffix {
        "Ki" => (1024, 1, Format::Binary),
        "Mi" => (1024, 2, Format::Binary),
        "Gi" => (1024, 3, Format::Binary),
        "Ti" => (1024, 4, Format::Binary),
        "Pi" => (1024, 5, Format::Binary),
        "Ei" => (1024, 6, Format::Binary),
        "n" => (10, -9, Format::Decimal),
        "u" => (10, -6, Format::Decimal),
        "m" => (10, -3, Format::Decimal),
        "" => (10, 0, Format::Decimal),
        "k" => (10, 3, Format::Decimal),
        "M" => (10, 6, Format::Decimal),
        "G" => (10, 9, Format::Decimal),
        "T" => (10, 12, Format::Decimal),
        "P" => (10, 15, Format::Decimal),
        "E" => (10, 18, Format::Decimal),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (10, exponent.parse::<i32>().ok()?, Format::Exponent)
        }
    })
}

/// The number `whole.fraction × base^power` in 10^-9, rounded up, saturating.
fn amount(whole: &str, fraction: &str, base: i128, power: i32) -> i128 {
    let digits = whole.bytes().chain(fraction.bytes());
    let scale = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let mantissa = digits.fold(0_i128, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i128::from(digit.saturating_sub(b'0')))
    });
    if mantissa == 0 {
        return 0;
    }
    let (binary, ten) = if base == 10 { (1, power) } else { (base.saturating_pow(power.unsigned_abs()), 0) };
    let ten = ten.saturating_sub(scale).saturating_add(9);
    let mantissa = mantissa.saturating_mul(binary);
    if ten >= 0 {
        10_i128.checked_pow(ten.unsigned_abs()).map_or(i128::MAX, |factor| mantissa.saturating_mul(factor))
    } else {
        10_i128.checked_pow(ten.unsigned_abs()).map_or(1, |factor| ceil_div(mantissa, factor))
    }
}

fn ceil_div(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by > 0 { quotient + 1 } else { quotient }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let value = |text: &str| Quantity::parse(text).map(Quantity::value);
        assert_eq!(value("10Mi"), Ok(10 << 20));
        assert_eq!(value("1.5Gi"), Ok(3 << 29));
        assert_eq!(value("100m"), Ok(1));
        assert_eq!(value("2e3"), Ok(2000));
        assert_eq!(value("1E"), Ok(1_000_000_000_000_000_000));
        assert_eq!(value("-1"), Ok(-1));
        assert_eq!(value(".5"), Ok(1));
        assert_eq!(value("9999999999999999999999999999999999999999Ei"), Ok(i64::MAX));
        assert_eq!(Quantity::parse("100m").map(Quantity::milli_value), Ok(100));
        assert_eq!(Quantity::parse("0.5").map(Quantity::milli_value), Ok(500));
        assert_eq!(Quantity::parse("1n").map(Quantity::milli_value), Ok(1), "rounded up");
        assert!(Quantity::parse("1e-40").is_ok());
        assert!(Quantity::parse("1e400").is_ok());
    }

    #[test]
    fn faults_are_the_api_servers() {
        for text in ["", "10 apples", "10MB", "1.2.3", "true", " 1", "1Mi "] {
            assert_eq!(Quantity::parse(text), Err(QuantityError::Format), "{text:?}");
        }
        for text in ["10KM", "1mm", "1e"] {
            assert_eq!(Quantity::parse(text), Err(QuantityError::Suffix), "{text:?}");
        }
        // A number without digits is none, and nothing is nought.
        for text in [".", "-", "Mi"] {
            assert!(Quantity::parse(text).is_ok_and(Quantity::is_zero), "{text:?}");
        }
    }

    #[test]
    fn canonical_forms() {
        for (text, canonical) in [
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000m", "1"),
            ("0.1", "100m"),
            ("2000", "2k"),
            ("0", "0"),
            ("1500", "1500"),
            ("1e3", "1e3"),
            ("-2Gi", "-2Gi"),
            ("512", "512"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().canonical(), canonical, "{text}");
        }
    }

    #[test]
    fn order_crosses_suffixes() {
        let q = |text: &str| Quantity::parse(text).unwrap();
        assert!(q("1Gi") > q("1G"));
        assert_eq!(q("1000m").cmp(&q("1")), Ordering::Equal);
    }
}
