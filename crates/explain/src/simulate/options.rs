//! Command line options as getopt_long(3) reads them: bundled, abbreviated, anywhere between the operands.

/// Whether an option has an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// None.
    Nothing,
    /// One, in the same word or the next.
    Argument,
    /// Perhaps one, in the same word.
    Perhaps,
}

/// An option: the letter, the long names (all mean the same), its argument.
pub(crate) type Spec = (Option<char>, &'static [&'static str], Takes);

/// What was given: options by their first long name, and operands, both in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) options: Vec<(&'static str, Option<String>)>,
    pub(crate) operands: Vec<String>,
}

impl Given {
    /// Whether an option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| *given == name)
    }
}

/// Reads the words after a command's name.
///
/// # Errors
/// What the command would say.
pub(crate) fn read(words: &[String], specs: &'static [Spec]) -> Result<Given, String> {
    let mut given = Given::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            given.operands.extend(words.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let spec = find_long(name, specs)?;
            let value = match (spec.2, value) {
                (Takes::Nothing, Some(_)) => return Err(format!("option '--{name}' allows no argument")),
                (Takes::Argument, None) => {
                    Some(words.next().ok_or(format!("option '--{name}' requires an argument"))?.clone())
                }
                (_, value) => value,
            };
            given.options.push((spec.1[0], value));
        } else if word.len() > 1 && word.starts_with('-') {
            read_letters(&word[1..], &mut words, specs, &mut given)?;
        } else {
            given.operands.push(word.clone());
        }
    }
    Ok(given)
}

fn read_letters<'a>(
    letters: &str,
    words: &mut impl Iterator<Item = &'a String>,
    specs: &'static [Spec],
    given: &mut Given,
) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        let spec = specs.iter().find(|spec| spec.0 == Some(letter));
        let spec = spec.ok_or(format!("invalid option -- '{letter}'"))?;
        let rest = &letters[at + letter.len_utf8()..];
        let rest = (!rest.is_empty()).then(|| rest.to_owned());
        match spec.2 {
            Takes::Nothing => given.options.push((spec.1[0], None)),
            Takes::Perhaps => {
                given.options.push((spec.1[0], rest));
                break;
            }
            Takes::Argument => {
                let missing = || format!("option requires an argument -- '{letter}'");
                let value = match rest {
                    Some(rest) => rest,
                    None => words.next().ok_or_else(missing)?.clone(),
                };
                given.options.push((spec.1[0], Some(value)));
                break;
            }
        }
    }
    Ok(())
}

fn find_long(name: &str, specs: &'static [Spec]) -> Result<&'static Spec, String> {
    if let Some(exact) = specs.iter().find(|spec| spec.1.contains(&name)) {
        return Ok(exact);
    }
    let begins = |spec: &&Spec| spec.1.iter().any(|long| long.starts_with(name));
    let mut found = specs.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(format!("option '--{name}' is ambiguous")),
        (None, _) => Err(format!("unrecognized option '--{name}'")),
    }
}
