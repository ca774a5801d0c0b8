//! Reads and writes Python literals, as far as corpus files use them: dict, list, tuple, str, int, None, True, False.
//! Nothing is evaluated.

use super::value::{SeenKeys, Value, given_twice};

/// Parses text that is one literal, with tuples as lists; the error says what was expected at which column (in bytes,
/// from 1).
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.expected("the end of the line"));
    }
    Ok(value)
}

/// Formats a string as Python's `repr()` does: in single quotes, unless it contains single quotes and no double quotes.
pub(super) fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// Limits nesting, so that a hostile line cannot exhaust the stack; corpus lines stay far below it.
const MAX_DEPTH: usize = 16;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type LiteralResult<T> = Result<T, String>;

impl Parser<'_> {
    fn expected(&self, what: &str) -> String {
        format!("bad literal at column {}: expected {what}", self.at + 1)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> LiteralResult<Value> {
        if depth > MAX_DEPTH {
            return Err(self.expected("less nesting"));
        }
        self.blanks();
        match self.rest().chars().next() {
            Some('{') => self.dict(depth + 1),
            Some('[') => self.list('[', "]", depth + 1),
            Some('(') => self.list('(', ")", depth + 1),
            Some('u' | '\'' | '"') if self.at_string() => self.strings().map(Value::Text),
            Some('-' | '0'..='9') => self.int(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> LiteralResult<Value> {
        for (word, value) in [("None", Value::Null), ("True", Value::Bool(true)), ("False", Value::Bool(false))] {
            if self.take(word) {
                return Ok(value);
            }
        }
        Err(self.expected("a Python dict, list, str or int"))
    }

    fn int(&mut self) -> LiteralResult<Value> {
        let rest = self.rest();
        let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| end + 1);
        let number = rest[..digits].parse().map_err(|_| self.expected("an integer"))?;
        self.at += digits;
        Ok(Value::Int(number))
    }

    fn list(&mut self, open: char, close: &str, depth: usize) -> LiteralResult<Value> {
        self.at += open.len_utf8();
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.take(close) {
                return Ok(Value::List(items));
            }
            items.push(self.value(depth)?);
            self.separator(close)?;
        }
    }

    fn dict(&mut self, depth: usize) -> LiteralResult<Value> {
        self.at += 1;
        let mut entries = Vec::new();
        let mut seen = SeenKeys::default();
        loop {
            self.blanks();
            if self.take("}") {
                return Ok(Value::Object(entries));
            }
            let Value::Text(key) = self.value(depth)? else { return Err(self.expected("a key in quotes before this")) };
            if seen.has(&entries, &key) {
                return Err(given_twice(&key));
            }
            self.blanks();
            if !self.take(":") {
                return Err(self.expected("`:`"));
            }
            entries.push((key, self.value(depth)?));
            self.separator("}")?;
        }
    }

    /// Reads the comma after an item, or checks that the closing bracket follows.
    fn separator(&mut self, close: &str) -> LiteralResult<()> {
        self.blanks();
        if self.take(",") || self.rest().starts_with(close) {
            Ok(())
        } else {
            Err(self.expected(&format!("`,` or `{close}`")))
        }
    }

    /// Returns whether a string follows. The prefix `u` is Python 2's.
    fn at_string(&self) -> bool {
        let rest = self.rest();
        rest.strip_prefix('u').unwrap_or(rest).starts_with(['\'', '"'])
    }

    /// Reads a string, or several in a row, which Python joins.
    fn strings(&mut self) -> LiteralResult<String> {
        let mut text = String::new();
        while self.at_string() {
            self.take("u");
            text += &self.string()?;
            self.blanks();
        }
        Ok(text)
    }

    fn string(&mut self) -> LiteralResult<String> {
        let start = self.at;
        let quote = if self.take("'") { '\'' } else { '"' };
        self.at = start + 1;
        let mut out = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                self.at = start;
                return Err(self.expected("a closing quote for the string that starts here"));
            };
            self.at += c.len_utf8();
            match c {
                '\\' => self.escape(&mut out)?,
                c if c == quote => return Ok(out),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> LiteralResult<()> {
        let c = self.rest().chars().next().ok_or_else(|| self.expected("an escape"))?;
        self.at += c.len_utf8();
        let c = match c {
            '\\' | '\'' | '"' => c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'a' => '\x07',
            'b' => '\x08',
            'v' => '\x0b',
            'f' => '\x0c',
            'x' => self.code_point(2)?,
            'u' => self.code_point(4)?,
            'U' => self.code_point(8)?,
            'N' => return Err(self.expected("the character itself instead of its name")),
            '0'..='7' => self.octal(c),
            // Python keeps the backslash of an escape it does not know.
            other => {
                out.push('\\');
                other
            }
        };
        out.push(c);
        Ok(())
    }

    /// Reads the other digits of `\ooo`, of which there are at most three.
    fn octal(&mut self, first: char) -> char {
        let mut code = u32::from(first) - u32::from('0');
        for _ in 0..2 {
            let Some(digit) = self.rest().chars().next().and_then(|c| c.to_digit(8)) else { break };
            code = code * 8 + digit;
            self.at += 1;
        }
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Reads the digits of a character. Two escapes that are a surrogate pair are one character, as in JSON.
    fn code_point(&mut self, digits: usize) -> LiteralResult<char> {
        let first = self.hex(digits)?;
        let code = match first {
            0xd800..=0xdbff if self.rest().starts_with("\\u") => {
                self.at += 2;
                let second = self.hex(4)?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.expected("the other half of a surrogate pair before this"));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| {
            self.expected("a character before this; `\\ud800` to `\\udfff` stand for characters only in pairs")
        })
    }

    fn hex(&mut self, digits: usize) -> LiteralResult<u32> {
        let hex = self.rest().get(..digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let code = code.ok_or_else(|| self.expected(&format!("{digits} hexadecimal digits of a character")))?;
        self.at += digits;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_read_as_python_reads_them() {
        let value = parse(r#"{'a': ["it's", 'q"\'', '\\\x41\u20ac\q'], "b": (1, -2,), 'c': None}"#).unwrap();
        let text = |s: &str| Value::Text(s.to_owned());
        let list = Value::List(vec![text("it's"), text("q\"'"), text("\\A€\\q")]);
        let pair = Value::List(vec![Value::Int(1), Value::Int(-2)]);
        let entries = [("a", list), ("b", pair), ("c", Value::Null)];
        assert_eq!(value, Value::Object(entries.map(|(key, value)| (key.to_owned(), value)).into()));
    }

    #[test]
    fn escapes_read_as_python_reads_them() {
        for (literal, text) in [
            (r"'\a\b\f\v\n\r\t'", "\x07\x08\x0c\x0b\n\r\t"),
            (r"'\0\12\1018\8'", "\0\nA8\\8"),
            (r"'\ud83d\ude00\U0001f600'", "😀😀"),
            (r#"u'a' "b" u"c""#, "abc"),
            ("''", ""),
        ] {
            assert_eq!(parse(literal), Ok(Value::Text(text.to_owned())), "{literal}");
        }
    }

    #[test]
    fn damage_is_named_with_its_column() {
        for (text, message) in [
            ("", "column 1: expected a Python dict"),
            ("{'a' 1}", "column 6: expected `:`"),
            ("{'a': 'b}", "column 7: expected a closing quote"),
            ("[1 2]", "column 4: expected `,` or `]`"),
            ("[1] x", "column 5: expected the end of the line"),
            ("__import__('os')", "column 1: expected a Python dict"),
            ("['\\u12']", "expected 4 hexadecimal digits"),
            ("['\\u+123']", "expected 4 hexadecimal digits"),
            ("['\\ud83d']", "stand for characters only in pairs"),
            ("['\\ude00']", "stand for characters only in pairs"),
            ("['\\U0000d83d']", "stand for characters only in pairs"),
            ("['\\ud83d\\u0041']", "the other half of a surrogate pair"),
            ("['\\N{BULLET}']", "the character itself instead of its name"),
            ("[99999999999999999999]", "an integer"),
            ("{1: 2}", "a key in quotes"),
            ("{'a': 1, 'b': 2, 'a': 1}", "key `a` is given twice; keep one"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert!(parse(&"[".repeat(10_000)).unwrap_err().contains("less nesting"));
    }

    #[test]
    fn repr_is_read_back() {
        for text in ["plain", "it's", "\"", "'\"", "\\&", "tab\tnew\nline", "caf\u{e9}", "\u{a0}"] {
            assert_eq!(parse(&repr(text)).unwrap(), Value::Text(text.to_owned()));
        }
        assert_eq!(repr("it's"), "\"it's\"");
        assert_eq!(repr("'\""), "'\\'\"'");
    }
}
