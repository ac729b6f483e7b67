//! The nearest name to one that is not known, and names in a sentence.

/// The known name that was probably meant.
pub fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let folded = fold(name);
    let limit = (folded.chars().count() / 3).max(1);
    let closest = known.iter().min_by_key(|candidate| strsim::damerau_levenshtein(&folded, &fold(candidate)))?;
    if strsim::damerau_levenshtein(&folded, &fold(closest)) <= limit {
        return Some(closest);
    }
    known.iter().find(|candidate| folded.chars().count() >= 4 && fold(candidate).contains(&folded)).map(String::as_str)
}

/// Case and the choice between `-` and `_` do not tell two names apart.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// `; did you mean ...?`, or nothing.
pub(super) fn did_you_mean(name: &str, known: &[String]) -> String {
    nearest(name, known).map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

/// Names as they stand in a sentence.
pub(super) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["epochs", "learning_rate", "score-prune"].map(str::to_owned);
        assert_eq!(nearest("epoch", &known), Some("epochs"));
        assert_eq!(nearest("learning-rate", &known), Some("learning_rate"));
        assert_eq!(nearest("score-purne", &known), Some("score-prune"));
        assert_eq!(nearest("prune", &known), Some("score-prune"));
        assert_eq!(nearest("momentum", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
