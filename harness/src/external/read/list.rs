//! Lists that were written as text, as pandas writes them into a CSV: what Python, NumPy or PyTorch print for a list.

/// The sign by which NumPy and PyTorch say that they left out the middle of a long list.
pub const LEFT_OUT: &str = "...";

/// Returns whether a text is a printed list: brackets around it, with the name of a type before them or without.
pub fn is_list(text: &str) -> bool {
    let Some(start) = text.find(['[', '(']) else { return false };
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
    // `array([…])` is a list, but a relation may be called `Cause(e1,e2)`.
    text.ends_with([']', ')']) && (start == 0 || is_name(&text[..start]) && text[start..].starts_with("(["))
}

/// Returns the items of a list, which may be separated by spaces, line breaks or commas, be quoted, be each wrapped in the
/// name of a type, and stand in brackets or not: `0.1 nan`, `['O', 'B-PER']`, `['O' 'B-PER']`, `[np.str_('O')]`,
/// `array([1, 2], dtype=int64)`.
pub fn items(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "[(,)".contains(c));
        match rest.chars().next() {
            None | Some(']') => return items,
            Some(quote @ ('\'' | '"')) => {
                let (item, after) = quoted(&rest[1..], quote);
                items.push(item);
                rest = after;
            }
            Some(_) => {
                let end = rest.find(|c: char| c.is_whitespace() || "[](),".contains(c)).unwrap_or(rest.len());
                let (item, after) = rest.split_at(end);
                // The name of a type before a bracket is no item.
                if !after.starts_with('(') {
                    items.push(item.to_owned());
                }
                rest = after;
            }
        }
    }
}

/// Reads a quoted text, whose opening quote is passed, and returns it with what follows its closing quote.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut item = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => item.extend(chars.next().map(|(_, escaped)| escaped)),
            c if c == quote => return (item, &text[at + 1..]),
            c => item.push(c),
        }
    }
    (item, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_prints_for_a_list_is_read() {
        for text in [
            "['O', 'B-PER', 'I-PER']",
            "['O' 'B-PER'\n 'I-PER']",
            "[\"O\", \"B-PER\", \"I-PER\"]",
            "[O, B-PER, I-PER]",
            "('O', 'B-PER', 'I-PER')",
            "[np.str_('O'), np.str_('B-PER'), np.str_('I-PER')]",
            "array(['O', 'B-PER', 'I-PER'], dtype='<U5')",
            "np.array(['O', 'B-PER', 'I-PER'], dtype=object)",
        ] {
            assert!(is_list(text), "{text}");
            assert_eq!(items(text), ["O", "B-PER", "I-PER"], "{text}");
        }
        for text in ["[0.5, nan, -inf]", "[0.5 nan -inf]", "tensor([0.5, nan, -inf], device='cpu')", "(0.5, nan, -inf)"]
        {
            assert!(is_list(text), "{text}");
            assert_eq!(items(text), ["0.5", "nan", "-inf"], "{text}");
        }
        assert_eq!(items("0.5 1 -2e-3"), ["0.5", "1", "-2e-3"]);
        assert_eq!(items(r"['it\'s', 'a, b']"), ["it's", "a, b"]);
        assert_eq!(items("[0.1 0.2 ... 0.3]"), ["0.1", "0.2", LEFT_OUT, "0.3"]);
        assert_eq!(items("[]"), [""; 0]);
    }

    #[test]
    fn labels_are_no_lists() {
        for label in ["None", "/per/per/peer", "Cause-Effect(e1,e2)", "cause(e1,e2)", "works for (org)", "B-PER", ""] {
            assert!(!is_list(label), "{label}");
        }
    }
}
