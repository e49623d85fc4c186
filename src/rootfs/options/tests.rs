use super::*;

fn parsed(words: &[&str]) -> Options {
    parse(
        &words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>(),
    )
}

#[test]
fn the_table_is_sorted_so_that_it_can_be_searched() {
    assert!(WORDS.is_sorted_by(|a, b| a < b));
}

#[test]
fn every_word_of_the_specification_is_known() {
    let words = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand \
        noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid \
        nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime \
        rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared \
        rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid \
        symfollow sync tmpcopyup unbindable idmap ridmap";
    for word in words.split_whitespace() {
        assert!(WORDS.contains(&word), "{word}");
        assert_eq!(parsed(&[word]).data, Vec::<String>::new(), "{word}");
    }
}

#[test]
fn switches_set_and_clear_their_bit() {
    for (on, off, bit) in [
        ("ro", "rw", RDONLY),
        ("nosuid", "suid", NOSUID),
        ("nodev", "dev", NODEV),
        ("noexec", "exec", NOEXEC),
        ("nodiratime", "diratime", NODIRATIME),
        ("nosymfollow", "symfollow", NOSYMFOLLOW),
    ] {
        let set = Attributes { set: bit, clear: 0 };
        let clear = Attributes { set: 0, clear: bit };
        assert_eq!(parsed(&[on]).attributes, set, "{on}");
        assert_eq!(parsed(&[on, off]).attributes, clear, "{on}, {off}");
        assert_eq!(parsed(&[off, on]).attributes, set, "{off}, {on}");
        let (on, off) = (format!("r{on}"), format!("r{off}"));
        assert_eq!(parsed(&[&on]).tree_attributes, set, "{on}");
        assert_eq!(parsed(&[&on, &off]).tree_attributes, clear, "{on}, {off}");
    }
}

#[test]
fn access_times_replace_the_whole_field() {
    const WHOLE: u64 = libc::MOUNT_ATTR__ATIME;
    let (no, strict) = (libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR_STRICTATIME);
    for (words, set, clear) in [
        (vec!["noatime"], no, WHOLE),
        (vec!["strictatime"], strict, WHOLE),
        (vec!["relatime"], 0, WHOLE),
        (vec!["atime"], 0, 0),
        (vec!["noatime", "atime"], 0, 0),
        (vec!["strictatime", "atime"], strict, WHOLE),
        (vec!["strictatime", "nostrictatime"], 0, 0),
        (vec!["noatime", "nostrictatime"], no, WHOLE),
        (vec!["noatime", "norelatime"], no, WHOLE),
        (vec!["strictatime", "norelatime"], strict, WHOLE),
        (vec!["norelatime"], 0, 0),
        (vec!["relatime", "norelatime"], 0, 0),
        (vec!["noatime", "relatime"], 0, WHOLE),
    ] {
        let wanted = Attributes { set, clear };
        assert_eq!(parsed(&words).attributes, wanted, "{words:?}");
        let recursive: Vec<String> = words.iter().map(|word| format!("r{word}")).collect();
        let wanted = Attributes { set, clear: WHOLE };
        assert_eq!(parse(&recursive).tree_attributes, wanted, "{recursive:?}");
    }
}

#[test]
fn only_plain_words_give_the_flags() {
    for word in ["rw", "dev", "atime", "norelatime", "async", "loud", "ro"] {
        assert_eq!(parsed(&["bind", word]).flags, Flags::Given, "{word}");
    }
    for word in [
        "defaults",
        "rro",
        "rnoatime",
        "rslave",
        "tmpcopyup",
        "idmap",
    ] {
        assert_eq!(parsed(&["bind", word]).flags, Flags::OfSource, "{word}");
    }
}

#[test]
fn superblock_words_take_each_other_back() {
    for (on, off, flag) in [
        ("sync", "async", libc::MS_SYNCHRONOUS),
        ("mand", "nomand", libc::MS_MANDLOCK),
        ("lazytime", "nolazytime", libc::MS_LAZYTIME),
        ("iversion", "noiversion", libc::MS_I_VERSION),
        ("silent", "loud", libc::MS_SILENT),
    ] {
        assert_eq!(parsed(&[on]).superblock, flag, "{on}");
        assert_eq!(parsed(&[on, off]).superblock, 0, "{on}, {off}");
    }
}

#[test]
fn rbind_wins_over_bind() {
    assert_eq!(parsed(&["rbind", "bind"]).bind, Some(Tree));
    assert_eq!(parsed(&["bind", "rbind"]).bind, Some(Tree));
    assert_eq!(parsed(&["bind"]).bind, Some(One));
}

#[test]
fn unknown_words_belong_to_the_file_system() {
    let options = parsed(&[
        "mode=755,size=65536k",
        "context=\"a:b:c0,c1\"",
        "lowerdir=/a\\,b:/c",
    ]);
    assert_eq!(
        options.data,
        [
            "mode=755",
            "size=65536k",
            "context=\"a:b:c0,c1\"",
            "lowerdir=/a\\,b:/c"
        ]
    );
}

#[test]
fn later_attributes_prevail() {
    let first = Attributes {
        set: RDONLY | NOSUID,
        clear: NODEV,
    };
    let later = Attributes {
        set: NODEV,
        clear: RDONLY,
    };
    assert_eq!(
        first.then(later),
        Attributes {
            set: NOSUID | NODEV,
            clear: RDONLY
        }
    );
}

#[test]
fn an_idmap_may_bring_its_own_text() {
    assert_eq!(parsed(&["ridmap"]).idmap, Some((Tree, None)));
    assert_eq!(
        parsed(&["idmap=uids=0-1-2"]).idmap,
        Some((One, Some("uids=0-1-2".to_owned())))
    );
}
