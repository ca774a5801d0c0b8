//! Reads the one kind of pickle that a dictionary of crops is: a dict from whole numbers or texts to lists of texts.
//!
//! The opcodes are those of Python's `pickletools` that protocols 2 to 5 write for such a dict. Everything else is refused,
//! so nothing in a file can run. Lists and texts are kept once however often a file refers to them, and a list holds texts
//! alone, so a file can neither nest without end nor grow in memory.

use std::collections::HashMap;

/// What a list of names belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The number of a row.
    Row(i64),
    /// The name of a picture.
    Image(String),
}

/// An object on the stack of the machine that a pickle programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StackItem {
    /// Where the arguments of an opcode with any number of them begin.
    Mark,
    Number(i64),
    /// The index of a text.
    Text(usize),
    /// The index of a list.
    List(usize),
    /// The dict, of which there is one.
    Dict,
}

/// Most bytes of all names and keys together, each name counted with what a string takes beside its text.
const MAX_NAMES: usize = 128 << 20;

/// Reads a pickle.
///
/// # Errors
/// The pickle is damaged, or holds something else than such a dict; the error says what.
pub fn read(bytes: &[u8]) -> Result<Vec<(Key, Vec<String>)>, String> {
    let mut machine = Machine { rest: bytes, ..Machine::default() };
    while machine.step()? {}
    if machine.pop()? != StackItem::Dict {
        return Err("the pickled value is not a dict".to_owned());
    }
    machine.entries()
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<StackItem>,
    memo: HashMap<u32, StackItem>,
    texts: Vec<&'a str>,
    lists: Vec<Vec<usize>>,
    /// Key and value of each entry of the dict.
    entries: Vec<[StackItem; 2]>,
    has_dict: bool,
}

impl<'a> Machine<'a> {
    /// Does what the next opcode says; returns whether another follows.
    fn step(&mut self) -> Result<bool, String> {
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => self.protocol()?,
            // The length of a frame, which is of use to readers of streams.
            0x95 => drop(self.array::<8>()?),
            b'(' => self.stack.push(StackItem::Mark),
            b'}' => self.dict()?,
            b']' => {
                self.lists.push(Vec::new());
                self.stack.push(StackItem::List(self.lists.len() - 1));
            }
            b'K' => self.number(u8::from_le_bytes)?,
            b'M' => self.number(u16::from_le_bytes)?,
            b'J' => self.number(i32::from_le_bytes)?,
            0x8a => self.long()?,
            b'U' | 0x8c => self.text(u8::from_le_bytes)?,
            b'X' | b'T' => self.text(u32::from_le_bytes)?,
            0x8d => self.text(u64::from_le_bytes)?,
            b'q' => self.put(u8::from_le_bytes)?,
            b'r' => self.put(u32::from_le_bytes)?,
            0x94 => self.remember(u32::try_from(self.memo.len()).map_err(|_| damaged())?)?,
            b'h' => self.get(u8::from_le_bytes)?,
            b'j' => self.get(u32::from_le_bytes)?,
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(&items)?;
            }
            b'c' | b'i' | b'o' | b'R' | b'b' | 0x81 | 0x92 | 0x93 => {
                return Err("it asks for a class or a function, which is never run".to_owned());
            }
            other => return Err(format!("expected whole numbers, texts and lists, found opcode {other:#04x}")),
        }
        Ok(true)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("it is cut off")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| damaged())
    }

    fn protocol(&mut self) -> Result<(), String> {
        match self.array()? {
            [2..=5] => Ok(()),
            [other] => Err(format!("it has pickle protocol {other}; write it with one of 2 to 5")),
        }
    }

    fn dict(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.has_dict, true) {
            return Err("it has a dict within the dict".to_owned());
        }
        self.stack.push(StackItem::Dict);
        Ok(())
    }

    fn number<const N: usize, T: Into<i64>>(&mut self, read: fn([u8; N]) -> T) -> Result<(), String> {
        let number = read(self.array()?).into();
        self.stack.push(StackItem::Number(number));
        Ok(())
    }

    /// Reads a whole number of up to eight bytes, as a two's complement.
    fn long(&mut self) -> Result<(), String> {
        let [length] = self.array()?;
        let bytes = self.take(usize::from(length))?;
        let sign = bytes.last().map_or(0, |last| if last & 0x80 == 0 { 0 } else { 0xff });
        let mut number = [sign; 8];
        let room = number.get_mut(..bytes.len()).ok_or("a number is too large")?;
        room.copy_from_slice(bytes);
        self.stack.push(StackItem::Number(i64::from_le_bytes(number)));
        Ok(())
    }

    fn text<const N: usize, T: TryInto<usize>>(&mut self, read: fn([u8; N]) -> T) -> Result<(), String> {
        let length = read(self.array()?).try_into().map_err(|_| damaged())?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "a text is not UTF-8")?;
        self.texts.push(text);
        self.stack.push(StackItem::Text(self.texts.len() - 1));
        Ok(())
    }

    fn put<const N: usize, T: Into<u32>>(&mut self, read: fn([u8; N]) -> T) -> Result<(), String> {
        let place = read(self.array()?).into();
        self.remember(place)
    }

    fn remember(&mut self, place: u32) -> Result<(), String> {
        let item = self.pop()?;
        self.stack.push(item);
        self.memo.insert(place, item);
        Ok(())
    }

    fn get<const N: usize, T: Into<u32>>(&mut self, read: fn([u8; N]) -> T) -> Result<(), String> {
        let place = read(self.array()?).into();
        self.stack.push(*self.memo.get(&place).ok_or_else(damaged)?);
        Ok(())
    }

    fn pop(&mut self) -> Result<StackItem, String> {
        self.stack.pop().filter(|item| *item != StackItem::Mark).ok_or_else(damaged)
    }

    /// Takes the objects above the last mark, and the mark.
    fn above_mark(&mut self) -> Result<Vec<StackItem>, String> {
        let mark = self.stack.iter().rposition(|item| *item == StackItem::Mark).ok_or_else(damaged)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    /// Adds texts to the list that is on top of the stack.
    fn append(&mut self, items: &[StackItem]) -> Result<(), String> {
        let Some(StackItem::List(list)) = self.stack.last() else { return Err(damaged()) };
        for item in items {
            let StackItem::Text(text) = item else {
                return Err(format!("expected a file name in each list, found {}", kind(*item)));
            };
            self.lists[*list].push(*text);
        }
        Ok(())
    }

    /// Adds entries to the dict, which is on top of the stack.
    fn set(&mut self, items: &[StackItem]) -> Result<(), String> {
        let (pairs, rest) = items.as_chunks::<2>();
        if self.stack.last() != Some(&StackItem::Dict) || !rest.is_empty() {
            return Err(damaged());
        }
        self.entries.extend(pairs);
        Ok(())
    }

    /// Returns the entries of the dict with their texts.
    fn entries(self) -> Result<Vec<(Key, Vec<String>)>, String> {
        let mut room = MAX_NAMES;
        let mut entries = Vec::with_capacity(self.entries.len());
        for [key, value] in &self.entries {
            let key = match key {
                StackItem::Number(row) => Key::Row(*row),
                StackItem::Text(text) => Key::Image(self.texts[*text].to_owned()),
                other => return Err(format!("a key is neither a row number nor a name, but {}", kind(*other))),
            };
            let StackItem::List(list) = value else {
                return Err(format!("at key {}: expected a list of file names, found {}", key.shown(), kind(*value)));
            };
            let names = self.lists[*list].iter().map(|text| self.texts[*text]);
            let size: usize = names.clone().map(|name| name.len() + size_of::<String>()).sum();
            let own = if let Key::Image(name) = &key { name.len() } else { 0 };
            room = room.checked_sub(size + own).ok_or_else(|| format!("its names take more than {MAX_NAMES} bytes"))?;
            entries.push((key, names.map(str::to_owned).collect()));
        }
        Ok(entries)
    }
}

impl Key {
    /// Returns the key as messages show it.
    pub fn shown(&self) -> String {
        match self {
            Self::Row(row) => row.to_string(),
            Self::Image(name) => format!("`{name}`"),
        }
    }
}

/// Returns what an object is, for messages.
fn kind(item: StackItem) -> &'static str {
    match item {
        StackItem::Mark => "nothing",
        StackItem::Number(_) => "a number",
        StackItem::Text(_) => "a text",
        StackItem::List(_) => "a list",
        StackItem::Dict => "the dict itself",
    }
}

fn damaged() -> String {
    "the pickle is damaged".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(row: i64, names: &[&str]) -> (Key, Vec<String>) {
        (Key::Row(row), names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// What CPython 3.11 writes for `{3: ['a.png'], 70000: ['a.png', 'é'], 2**40: [], -1: ['a.png']}`, in which the first
    /// text is one object, by protocol.
    #[test]
    fn what_python_writes_is_read() {
        let two = b"\x80\x02}q\x00(K\x03]q\x01X\x05\x00\x00\x00a.pngq\x02aJp\x11\x01\x00]q\x03(h\x02X\x02\x00\x00\x00\xc3\xa9q\x04e\x8a\x06\x00\x00\x00\x00\x00\x01]q\x05J\xff\xff\xff\xff]q\x06h\x02au.";
        let four = b"\x80\x04\x956\x00\x00\x00\x00\x00\x00\x00}\x94(K\x03]\x94\x8c\x05a.png\x94aJp\x11\x01\x00]\x94(h\x02\x8c\x02\xc3\xa9\x94e\x8a\x06\x00\x00\x00\x00\x00\x01]\x94J\xff\xff\xff\xff]\x94h\x02au.";
        let expected = vec![row(3, &["a.png"]), row(70_000, &["a.png", "é"]), row(1 << 40, &[]), row(-1, &["a.png"])];
        for pickle in [&two[..], four] {
            assert_eq!(read(pickle).unwrap(), expected);
            for cut in 0..pickle.len() {
                assert!(read(&pickle[..cut]).is_err(), "{cut}");
            }
        }
        // A list that is filled after the dict refers to it.
        assert_eq!(
            read(b"\x80\x02}K\x01]q\x01sh\x01U\x01xa0.").unwrap_err(),
            "expected whole numbers, texts and lists, found opcode 0x30"
        );
        assert_eq!(read(b"\x80\x02]q\x01U\x01xa}K\x01h\x01s.").unwrap(), [row(1, &["x"])]);
    }

    #[test]
    fn what_no_dictionary_has_is_refused() {
        for (pickle, message) in [
            (&b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truet\x52."[..], "it asks for a class or a function"),
            (b"\x80\x01}.", "it has pickle protocol 1"),
            (b"\x80\x02].", "the pickled value is not a dict"),
            (b"\x80\x02.", "the pickle is damaged"),
            (b"\x80\x02}K\x01}s.", "it has a dict within the dict"),
            (b"\x80\x02}q\x00K\x01h\x00s.", "at key 1: expected a list of file names, found the dict itself"),
            (b"\x80\x02}K\x01K\x02s.", "at key 1: expected a list of file names, found a number"),
            (b"\x80\x02}]]s.", "a key is neither a row number nor a name, but a list"),
            (b"\x80\x02}K\x01]K\x02as.", "expected a file name in each list, found a number"),
            (b"\x80\x02}(K\x01u.", "the pickle is damaged"),
            (b"\x80\x02}K\x01Ns.", "expected whole numbers, texts and lists, found opcode 0x4e"),
            (b"\x80\x02}\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01]s.", "a number is too large"),
            (b"\x80\x02}U\x01\xff]s.", "a text is not UTF-8"),
            (b"\x80\x02}\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "it is cut off"),
        ] {
            assert!(read(pickle).unwrap_err().starts_with(message), "{}: {:?}", message, read(pickle));
        }
    }

    /// A general reader of pickles overflows its stack at the first and fills the memory at the second.
    #[test]
    fn lists_without_end_and_names_that_multiply_are_refused() {
        let deep = [&b"\x80\x02"[..], &b"]".repeat(3_000_000), &b"a".repeat(2_999_999), b"."].concat();
        assert!(read(&deep).unwrap_err().starts_with("expected a file name in each list"));
        let entries: Vec<u8> =
            (0..9000_u16).flat_map(|row| [&b"M"[..], &row.to_le_bytes(), b"h\x01"].concat()).collect();
        let many = [&b"\x80\x02]q\x01(U\x01xq\x02"[..], &b"h\x02".repeat(30_000), b"e}(", &entries, b"u."].concat();
        assert!(read(&many).unwrap_err().starts_with("its names take more than"));
        let (size, text, pairs) = (100_000_u32.to_le_bytes(), b"x".repeat(100_000), b"h\x02h\x01".repeat(2000));
        let keys = [&b"\x80\x02]q\x01X"[..], &size, &text, b"q\x02}(", &pairs, b"u."].concat();
        assert!(read(&keys).unwrap_err().starts_with("its names take more than"));
    }
}
