//! Names from `metadata.generateName`, as the API server makes them (`k8s.io/apiserver/pkg/storage/names`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Letters that make no words, and digits that are no letters' likeness.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Characters behind the prefix.
const RANDOM: usize = 5;
/// Bytes of a prefix that are kept, so that the whole is a host name.
const MAX_PREFIX: usize = 63 - RANDOM;

/// Gives an object that has no name, but `generateName`, a name. `dice` are at least 24 random bits.
pub fn complete_name(metadata: &mut ObjectMeta, dice: u64) {
    let named = metadata.name.as_deref().is_some_and(|name| !name.is_empty());
    if let (false, Some(prefix)) = (named, metadata.generate_name.as_deref()) {
        metadata.name = Some(generated_name(prefix, dice));
    }
}

/// The prefix with five characters behind it. `dice` are at least 24 random bits.
#[must_use]
pub fn generated_name(prefix: &str, mut dice: u64) -> String {
    let mut end = prefix.len().min(MAX_PREFIX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    for _ in 0..RANDOM {
        let sides = ALPHABET.len() as u64;
        name.push(char::from(letter(dice)));
        dice /= sides;
    }
    name
}

/// The letter that a number stands for.
pub(crate) fn letter(number: u64) -> u8 {
    let at = usize::try_from(number % ALPHABET.len() as u64).unwrap_or_default();
    ALPHABET[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_prefix_and_five_characters() {
        let mut metadata = ObjectMeta { generate_name: Some("web-".into()), ..ObjectMeta::default() };
        complete_name(&mut metadata, 27 + 2);
        assert_eq!(metadata.name.as_deref(), Some("web-dcbbb"));
        complete_name(&mut metadata, 5);
        assert_eq!(metadata.name.as_deref(), Some("web-dcbbb"), "a name stays");
        assert_eq!(generated_name(&"a".repeat(99), u64::MAX).len(), 63);
    }
}
