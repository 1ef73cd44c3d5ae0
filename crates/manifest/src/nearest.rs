//! Near misses: which of the words that would have been right was probably meant.

/// The word of `candidates` nearest to `word`, if it is near enough to be worth naming.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    // A third of the letters may be wrong, but at least two, and never all of a short word.
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .filter(|candidate| !candidate.is_empty() && *candidate != word)
        .filter_map(|candidate| {
            let other = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&folded, &other);
            // `hostNetworking` for `hostNetwork`: one is the beginning of the other.
            let prefix = folded.len() >= 3
                && other.len() >= 3
                && (other.starts_with(&folded) || folded.starts_with(&other));
            (distance <= allowed || prefix).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found_and_far_ones_are_not() {
        let modes = ["Bidirectional", "HostToContainer", "None"];
        assert_eq!(nearest("Bidirectionl", modes), Some("Bidirectional"));
        assert_eq!(nearest("bidirectional", modes), Some("Bidirectional"));
        assert_eq!(nearest("Shared", modes), None);
        assert_eq!(nearest("", modes), None);
        let fields = ["name", "mountPath", "mountPropagation", "labels", "hostNetwork", "command"];
        assert_eq!(nearest("mountPropogation", fields), Some("mountPropagation"));
        assert_eq!(nearest("label", fields), Some("labels"));
        assert_eq!(nearest("hostNetworking", fields), Some("hostNetwork"));
        assert_eq!(nearest("bindMount", fields), None);
    }
}
