//! Reads and writes Python literals, as far as corpus files use them: dict, list, tuple, str, int, None, True, False.
//! Nothing is evaluated.

/// The value of a Python literal; a tuple is read as a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    None,
    Bool(bool),
    Int(i64),
    Str(String),
    List(Vec<Self>),
    Dict(Vec<(Self, Self)>),
}

impl Literal {
    /// Returns the Python name of the type, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
        }
    }
}

/// Parses text that is one literal; the error says what was expected at which column (in bytes, from 1).
pub fn parse(text: &str) -> Result<Literal, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.expected("the end of the line"));
    }
    Ok(value)
}

/// Formats a string as Python's `repr()` does: in single quotes, unless it contains single quotes and no double quotes.
pub fn repr(text: &str) -> String {
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

type Parsed<T> = Result<T, String>;

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

    fn value(&mut self, depth: usize) -> Parsed<Literal> {
        if depth > MAX_DEPTH {
            return Err(self.expected("less nesting"));
        }
        self.blanks();
        match self.rest().chars().next() {
            Some('{') => self.dict(depth + 1),
            Some('[') => self.list('[', "]", depth + 1),
            Some('(') => self.list('(', ")", depth + 1),
            Some('\'' | '"') => self.string().map(Literal::Str),
            Some('-' | '0'..='9') => self.int(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Parsed<Literal> {
        for (word, value) in [("None", Literal::None), ("True", Literal::Bool(true)), ("False", Literal::Bool(false))] {
            if self.take(word) {
                return Ok(value);
            }
        }
        Err(self.expected("a Python dict, list, str or int"))
    }

    fn int(&mut self) -> Parsed<Literal> {
        let rest = self.rest();
        let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| end + 1);
        let number = rest[..digits].parse().map_err(|_| self.expected("an integer"))?;
        self.at += digits;
        Ok(Literal::Int(number))
    }

    fn list(&mut self, open: char, close: &str, depth: usize) -> Parsed<Literal> {
        self.at += open.len_utf8();
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.take(close) {
                return Ok(Literal::List(items));
            }
            items.push(self.value(depth)?);
            self.separator(close)?;
        }
    }

    fn dict(&mut self, depth: usize) -> Parsed<Literal> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.blanks();
            if self.take("}") {
                return Ok(Literal::Dict(entries));
            }
            let key = self.value(depth)?;
            self.blanks();
            if !self.take(":") {
                return Err(self.expected("`:`"));
            }
            entries.push((key, self.value(depth)?));
            self.separator("}")?;
        }
    }

    /// Reads the comma after an item, or checks that the closing bracket follows.
    fn separator(&mut self, close: &str) -> Parsed<()> {
        self.blanks();
        if self.take(",") || self.rest().starts_with(close) {
            Ok(())
        } else {
            Err(self.expected(&format!("`,` or `{close}`")))
        }
    }

    fn string(&mut self) -> Parsed<String> {
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

    fn escape(&mut self, out: &mut String) -> Parsed<()> {
        let c = self.rest().chars().next().ok_or_else(|| self.expected("an escape"))?;
        self.at += c.len_utf8();
        let c = match c {
            '\\' | '\'' | '"' => c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'x' => self.code_point(2)?,
            'u' => self.code_point(4)?,
            'U' => self.code_point(8)?,
            // Python keeps the backslash of an escape it does not know.
            other => {
                out.push('\\');
                other
            }
        };
        out.push(c);
        Ok(())
    }

    fn code_point(&mut self, digits: usize) -> Parsed<char> {
        let hex = self.rest().get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let c = hex
            .and_then(char::from_u32)
            .ok_or_else(|| self.expected(&format!("{digits} hexadecimal digits of a character")))?;
        self.at += digits;
        Ok(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_read_as_python_reads_them() {
        let value = parse(r#"{'a': ["it's", 'q"\'', '\\\x41\u20ac\q'], "b": (1, -2,), 'c': None}"#).unwrap();
        let text = |s: &str| Literal::Str(s.to_owned());
        let list = Literal::List(vec![text("it's"), text("q\"'"), text("\\A€\\q")]);
        let pair = Literal::List(vec![Literal::Int(1), Literal::Int(-2)]);
        assert_eq!(value, Literal::Dict(vec![(text("a"), list), (text("b"), pair), (text("c"), Literal::None)]));
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
            ("[99999999999999999999]", "an integer"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert!(parse(&"[".repeat(10_000)).unwrap_err().contains("less nesting"));
    }

    #[test]
    fn repr_is_read_back() {
        for text in ["plain", "it's", "\"", "'\"", "\\&", "tab\tnew\nline", "caf\u{e9}", "\u{a0}"] {
            assert_eq!(parse(&repr(text)).unwrap(), Literal::Str(text.to_owned()));
        }
        assert_eq!(repr("it's"), "\"it's\"");
        assert_eq!(repr("'\""), "'\\'\"'");
    }
}
