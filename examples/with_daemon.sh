# For the checks of the clients here, which source it: a folder $work and the daemon of the program $1, gone at the end.
binary=$(realpath "${1:?the clino program}")
work=$(mktemp -d)
daemon=
end() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap end EXIT

serve() { # Starts it at a port of 127.0.0.1 and at the socket $work/clino.sock; $line is what it says of its addresses.
    mkfifo "$work/line"
    env -u CLINO_ADDR "$binary" serve --listen 127.0.0.1:0 --socket "$work/clino.sock" >"$work/line" 2>"$work/log" &
    daemon=$!
    read -r line <"$work/line" || { cat "$work/log"; exit 1; }
}
