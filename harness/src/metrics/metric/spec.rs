//! What the lists of metrics share: the direction of a metric, and the macro that defines a list.

use serde::{Deserialize, Serialize};

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better, as for F1.
    HigherIsBetter,
    /// Less is better, as for forgetting.
    LowerIsBetter,
}

/// Defines an enum of metrics whose variants each carry a specification.
macro_rules! metrics {
    ($(#[$about:meta])* $name:ident: $spec:ty { $($(#[$doc:meta])* $variant:ident => $value:expr,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every metric of this list, in the order of tables.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn spec(self) -> $spec {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }
    };
}
pub(super) use metrics;
