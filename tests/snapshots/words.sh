# What the commands of the sessions are short for. Each command runs in a shell of its own, which reads this first.
umask 077

# A home that the key file key-file unlocks, and a recovery code that is in the file code.
a_home() {
    kmsfs setup --key-file key-file > setup.txt
    grep -oE '([0-9A-Z]{4}-){6}[0-9A-Z]{4}' setup.txt > code
    rm setup.txt
}

# A home that the passphrase in the file passphrase unlocks.
a_home_with_passphrase() {
    printf 'correct horse\n' > passphrase
    kmsfs setup --passphrase-file passphrase --no-recovery-code $CHEAP > /dev/null
}

# A passphrase that costs little to try.
CHEAP='--argon2-memory 8 --argon2-iterations 1'

# a_key ALIAS: a new key.
a_key() {
    local id
    id=$(kmsfs kms create-key | grep -oE '[0-9a-f-]{36}' | head -n 1)
    kmsfs kms create-alias --alias-name "$1" --target-key-id "$id"
}

# an_external_key ALIAS: a new key that waits for its material.
an_external_key() {
    local id
    id=$(kmsfs kms create-key --origin EXTERNAL | grep -oE '[0-9a-f-]{36}' | head -n 1)
    kmsfs kms create-alias --alias-name "$1" --target-key-id "$id"
}

# parameters ALIAS [ALGORITHM]: what an import needs, as the files wrapping-key.der and token.
parameters() {
    kmsfs kms get-parameters-for-import --key-id "$(id_of "$1")" --wrapping-algorithm "${2:-RSAES_OAEP_SHA_256}" \
        --wrapping-key-spec RSA_2048 > parameters.json
    grep -oP '"PublicKey": "\K[^"]+' parameters.json | base64 -d > wrapping-key.der
    grep -oP '"ImportToken": "\K[^"]+' parameters.json | base64 -d > token
}

# material BYTES FILE: so many bytes, wrapped under wrapping-key.der.
material() {
    head -c "$1" /dev/zero | tr '\0' m > material
    openssl pkeyutl -encrypt -pubin -keyform DER -inkey wrapping-key.der -in material -out "$2" \
        -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256
}

# The id that an alias stands for.
id_of() {
    kmsfs kms describe-key --key-id "$1" | grep -oE '[0-9a-f-]{36}' | head -n 1
}

# A home, the key alias/main, and the volume dir.
a_volume() {
    a_home && a_key alias/main && kmsfs init dir --key alias/main > /dev/null && mkdir mnt
}

# A volume in which the file f has 10,000 bytes in three chunks.
a_file() {
    a_volume && kmsfs mount dir mnt && head -c 10000 /dev/zero | tr '\0' x > mnt/f && kmsfs umount mnt
}

# alter FILE OFFSET: another byte there.
alter() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    put "$1" "$2" $((byte ^ 255))
}

# put FILE OFFSET BYTE
put() {
    printf "\\x$(printf %02x "$3")" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# alone COMMAND: in a mount namespace of its own, with a /dev of its own that has no fuse.
alone() {
    mkdir -p own-dev
    unshare -m bash -c "mount --make-rprivate / && mount -t tmpfs none own-dev &&
        cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom own-dev/ && $1"
}

# as_nobody COMMAND: as the user 65534, who owns the directory.
as_nobody() {
    cp "$(command -v kmsfs)" own-kmsfs
    chmod 755 . own-kmsfs
    find . -xdev -exec chown -h 65534:65534 {} +
    # These words lie where that user may not look.
    exec env -u BASH_ENV setpriv --reuid=65534 --regid=65534 --clear-groups bash -c "kmsfs() { $PWD/own-kmsfs \"\$@\"; }; $1"
}

# with_full_log COMMAND: the audit log has no room for another record; the command is repeated until what is left is used up. How the
# system puts it depends on how much of the record was written.
with_full_log() {
    mkdir log
    alone "mount -t tmpfs -o size=16k none log && cp home/audit.log log && mount --bind log/audit.log home/audit.log
        head -c 16384 /dev/zero > log/rest 2> /dev/null
        for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do $1 > said 2>&1; code=\$?; [ \$code = 0 ] || break; done
        sed -E 's/(no storage space|No space left on device.*)/[FULL]/' said >&2; exit \$code"
}

# A home with a clock that can be moved, that the key file key-file unlocks.
a_simulated_home() {
    kmsfs setup --key-file key-file --no-recovery-code --simulated-clock > /dev/null
}

# a_policy_for WHO ACTION...: a policy that allows the root or a user of the account these actions, and nothing else.
a_policy_for() {
    local who=$1 actions
    shift
    actions=$(printf ',"%s"' "$@")
    printf '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:%s"},"Action":[%s],"Resource":"*"}}' \
        "$who" "${actions#,}"
}

# The id of the only multi-Region key.
mrk() {
    kmsfs keys --json | grep -oE 'mrk-[0-9a-f]{32}' | head -n 1
}
