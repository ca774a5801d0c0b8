//! Keeps panics of other people's parsers from ending the program: the Parquet reader panics at some damaged files, such as
//! one whose columns have negative lengths.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught by [`guarded`], so that nobody needs to be told.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls a parser and returns what it returns, or `None` if it panics. It must work on the calling thread alone.
///
/// The first call puts a panic hook before the present one, which it calls for all other panics.
pub fn guarded<T>(parse: impl FnOnce() -> T) -> Option<T> {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                others(panic);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let parsed = panic::catch_unwind(AssertUnwindSafe(parse));
    GUARDED.set(before);
    parsed.ok()
}

/// An iterator whose items are wrapped in `Some`. If it panics, the last item is `None`.
#[derive(Debug)]
pub struct Guarded<I>(Option<I>);

impl<I> Guarded<I> {
    /// Wraps an iterator so that a panic while it makes an item becomes a final `None`.
    pub fn new(items: I) -> Self {
        Self(Some(items))
    }
}

impl<I: Iterator> Iterator for Guarded<I> {
    type Item = Option<I::Item>;

    fn next(&mut self) -> Option<Self::Item> {
        let items = self.0.as_mut()?;
        match guarded(|| items.next()) {
            Some(item) => item.map(Some),
            None => {
                // Whatever a panic left behind is not used again.
                self.0 = None;
                Some(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Guarded, guarded};

    #[test]
    fn a_panic_is_no_result_and_ends_an_iterator() {
        assert_eq!(guarded(|| 3), Some(3));
        assert_eq!(guarded(|| panic!("at a damaged file")), None::<i32>);
        assert_eq!(guarded(|| guarded(|| panic!("within")).unwrap_or(4)), Some(4));
        let items = (1..5).map(|i| if i == 3 { panic!("at the third") } else { i });
        assert_eq!(Guarded::new(items).collect::<Vec<_>>(), [Some(1), Some(2), None]);
    }
}
