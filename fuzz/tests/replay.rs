//! Every input that is kept, through its target, without a fuzzer.

use std::path::{Path, PathBuf};

fn kept(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Goal: no target stumbles over the inputs to begin with, the kept ones, or any of them cut off or with a bit flipped.
#[test]
fn kept_inputs_pass() {
    for (name, run, seeds) in fuzz::TARGETS {
        let mut inputs = seeds();
        inputs.extend(kept(name).iter().map(|path| std::fs::read(path).unwrap()));
        assert!(!inputs.is_empty(), "{name} has nothing to begin with");
        for input in &inputs {
            run(input);
            run(&input[..input.len() / 2]);
            let mut flipped = input.clone();
            if let Some(byte) = flipped.get_mut(input.len() * 2 / 3) {
                *byte ^= 4;
            }
            run(&flipped);
        }
        println!("{name}: {} inputs", inputs.len());
    }
}

/// Goal: the fuzzer can be given the inputs to begin with as files.
#[test]
fn seeds_are_written() {
    let Some(folder) = option_env!("PINNACE_FUZZ_CORPUS") else { return };
    for (name, _, seeds) in fuzz::TARGETS {
        let place = Path::new(folder).join(name);
        std::fs::create_dir_all(&place).unwrap();
        for (at, seed) in seeds().iter().enumerate() {
            std::fs::write(place.join(format!("seed-{at:04}")), seed).unwrap();
        }
    }
}
