//! The protocols that come with the program.

/// The protocols that come with the program: name and text.
pub const SHIPPED: [(&str, &str); 9] = [
    ("fewrel-10", include_str!("../../splits/fewrel-10.toml")),
    ("mnre-5", include_str!("../../splits/mnre-5.toml")),
    ("mnre-7", include_str!("../../splits/mnre-7.toml")),
    ("mnre-10", include_str!("../../splits/mnre-10.toml")),
    ("tacred-10", include_str!("../../splits/tacred-10.toml")),
    ("twitter2015-plom", include_str!("../../splits/twitter2015-plom.toml")),
    ("twitter2015-polm", include_str!("../../splits/twitter2015-polm.toml")),
    ("twitter2017-plom", include_str!("../../splits/twitter2017-plom.toml")),
    ("twitter2017-polm", include_str!("../../splits/twitter2017-polm.toml")),
];
