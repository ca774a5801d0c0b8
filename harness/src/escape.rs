//! Names and texts that others chose, in files of ours: one function per format, and one that makes file names. Names of
//! models, classes and benchmarks may hold any character, and a board shows names of strangers.
//!
//! HTML is escaped by the template engine; [`visible`] takes out before what HTML forbids.

use std::borrow::Cow;

use mkgc_builder::files::sha256_hex;

/// The longest name that [`file_name`] keeps: a file name is made of two at most and has 255 bytes at most.
const LONGEST: usize = 80;
/// Digits of the hash that tells changed names apart.
const DIGITS: usize = 12;

/// Returns a name for files. Letters of ASCII, digits, `-`, `_` and `.` are kept; a name that holds anything else or is
/// long is cut, and a hash of the whole name tells it from others. No two names share a file name.
pub fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let kept = !name.is_empty() && name.len() <= LONGEST && name.chars().all(plain);
    if kept && !name.starts_with('.') && !ends_in_hash(name) {
        return name.to_owned();
    }
    let start: String = name.chars().take(LONGEST).map(|c| if plain(c) { c } else { '_' }).collect();
    let start = start.trim_start_matches('.');
    format!("{start}-{}", &sha256_hex(name.as_bytes())[..DIGITS])
}

/// Tells whether a name ends as changed ones do.
fn ends_in_hash(name: &str) -> bool {
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    name.rsplit_once('-').is_some_and(|(_, end)| end.len() == DIGITS && end.chars().all(digit))
}

/// Tells whether XML 1.0 allows a character (production 2, `Char`).
fn allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Replaces the characters that XML and HTML forbid, such as escape codes of terminals, with U+FFFD.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(allowed) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect())
}

/// Escapes text of XML, also in attributes.
pub fn xml(text: &str) -> String {
    quick_xml::escape::escape(visible(text)).into_owned()
}

/// Escapes text of Markdown: raw HTML, emphasis, code, links and pictures, and the bars of tables. Line breaks and other
/// control characters become spaces.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        match c {
            '<' => escaped += "&lt;",
            '&' => escaped += "&amp;",
            c if c.is_control() => escaped.push(' '),
            '\\' | '|' | '`' | '*' => escaped.extend(['\\', c]),
            // Within a word an underscore is no emphasis, one tilde strikes nothing out, and brackets alone are no link.
            '_' if !(before.is_alphanumeric() && next.is_alphanumeric()) => escaped += "\\_",
            '~' if next == '~' || before == '~' => escaped += "\\~",
            '(' if before == ']' => escaped += "\\(",
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// Escapes what LaTeX would read as a command. Control characters become spaces.
pub fn latex(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{c}"),
        '~' => "\\textasciitilde{}".to_owned(),
        '^' => "\\textasciicircum{}".to_owned(),
        '\\' => "\\textbackslash{}".to_owned(),
        '<' => "\\textless{}".to_owned(),
        '>' => "\\textgreater{}".to_owned(),
        '|' => "\\textbar{}".to_owned(),
        '[' | ']' => format!("{{{c}}}"),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// Escapes the text of a CSV cell that a spreadsheet would compute as a formula: an apostrophe before it makes it text
/// (OWASP, "CSV Injection"). So that a program can take it off again, as `mkgc.load_board` does, text that looks escaped
/// gets one more. Quotes, commas and line breaks are left to the CSV writer.
pub fn csv(text: &str) -> Cow<'_, str> {
    if text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn plain_names_are_kept_and_all_others_told_apart() {
        for name in ["mnre-10", "emr", "a_b", "rp-cre", "last_micro_f1", "V1.2", "a-0123456789"] {
            assert_eq!(file_name(name), name);
        }
        let long = "x".repeat(5000);
        let other = format!("{}y", "x".repeat(4999));
        let forged = file_name("a b");
        let names =
            ["", " ", ".", "..", ".git", "a/b", "a\\b", "a b", "é", "è", "日本", "日木", "a\0", &long, &other, &forged];
        let files: BTreeSet<String> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(files.len(), names.len(), "{files:?}");
        for file in files {
            assert!(file.len() <= LONGEST + 1 + DIGITS && file.is_ascii() && !file.starts_with('.'), "{file}");
            assert!(!file.contains(['/', '\\', '\0', ' ']), "{file}");
        }
    }

    #[test]
    fn what_latex_reads_as_a_command_is_escaped() {
        assert_eq!(latex("a_b & 50 % [x] {y}"), "a\\_b \\& 50 \\% {[}x{]} \\{y\\}");
        assert_eq!(latex("\\~^#$"), "\\textbackslash{}\\textasciitilde{}\\textasciicircum{}\\#\\$");
        assert_eq!(latex("<a|b>\n"), "\\textless{}a\\textbar{}b\\textgreater{} ");
    }

    #[test]
    fn markdown_shows_names_as_they_are() {
        assert_eq!(markdown("lmc [full] (stand-in images)"), "lmc [full] (stand-in images)");
        assert_eq!(markdown("per_org_member"), "per_org_member");
        assert_eq!(markdown("<img src=x> & a|b"), "&lt;img src=x> &amp; a\\|b");
        assert_eq!(
            markdown("![x](http://y) `c` *d* _e_ ~~f~~"),
            "![x]\\(http://y) \\`c\\` \\*d\\* \\_e\\_ \\~\\~f\\~\\~"
        );
        assert_eq!(markdown("a\\|b\nc\td"), "a\\\\\\|b c d");
    }

    #[test]
    fn xml_holds_no_character_that_it_forbids() {
        assert_eq!(xml("a\u{1b}[31m\0\u{fffe}b\n"), "a\u{fffd}[31m\u{fffd}\u{fffd}b\n");
        assert_eq!(xml("<a & 'b' \"c\">"), "&lt;a &amp; &apos;b&apos; &quot;c&quot;&gt;");
        assert_eq!(visible("日本 \u{10FFFF}"), "日本 \u{10FFFF}");
    }

    #[test]
    fn cells_are_no_formulas() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1"] {
            assert_eq!(csv(formula), format!("'{formula}"));
        }
        for plain in ["rp-cre = best", "'tis"] {
            assert_eq!(csv(plain), plain);
        }
    }
}
