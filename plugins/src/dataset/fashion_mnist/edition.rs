//! Which files are the published ones, and which the bundled part of them.
//!
//! A file is known by what it holds and not by how it is packed: the sums are of the idx files before
//! gzip, as `zcat FILE | sha256sum` prints them. Debian's files hold what the published ones hold;
//! the headers of gzip alone differ.

use litesnn_framework::data::Edition;

/// The files of the authors' archive `FILE.gz`.
const OFFICIAL: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    ("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    ("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
];

/// The bundled files, which `experiments/data/fashion-mnist/draw.py` draws from the published ones.
const BUNDLED: [(&str, &str); 6] = [
    ("train-images-idx3-ubyte", "a523eb2cc1e8dfe7dee3e52d5d738c0be4e44f11abbf9bbdaf774cc2e87a7caf"),
    ("train-labels-idx1-ubyte", "e026daf3d28b630d395bff264d45247706f43ecba7d4f48422cba6b6a30e22d3"),
    ("validation-images-idx3-ubyte", "2176f3eedb86a37b67b04a93526185f27ff94acf88047576da2c9fb179193396"),
    ("validation-labels-idx1-ubyte", "2bed0e3790b2dac87cb49ca6718054c88d630c4060f2671b4e1557c9e0ca6621"),
    ("t10k-images-idx3-ubyte", "82f83e66f4940a93b4d80e767333ace8c2f92536cae54eab8bebb742db7e0f70"),
    ("t10k-labels-idx1-ubyte", "66e4c6deb5f2a061f7d8cd5ec53025fdb9dabb08265e449acb8cf64b8cd36cac"),
];

/// What files with these names and sums are.
pub fn edition(files: &[(String, String)]) -> Edition {
    let are = |known: &[(&str, &str)]| {
        let mut known: Vec<(&str, &str)> = known.to_vec();
        let mut found: Vec<(&str, &str)> = files.iter().map(|(name, sum)| (name.as_str(), sum.as_str())).collect();
        known.sort_unstable();
        found.sort_unstable();
        known == found
    };
    match (are(&OFFICIAL), are(&BUNDLED)) {
        (true, _) => Edition::Official,
        (_, true) => Edition::Subset,
        _ => Edition::Other,
    }
}
