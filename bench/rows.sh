# Sourced: rows of commands as a user types them, and what each printed.
#
# `row CODE COMMAND` runs a command and counts it if it does not end in that exit code; `end_of_rows`
# says how many there were. What is printed shows the folder of work as a dot, and no progress.

# start_rows SHARED WORK: go to an empty folder of work, with data and threads of its own.
start_rows() {
    shared=$(cd "$1" && pwd) || exit 2
    mkdir -p "$2" && work=$(cd "$2" && pwd) && cd "$work" || exit 2
    export NC_DATA=$work/data OMP_NUM_THREADS=1
    unset PYTHONPATH
    rows=0 bad=0
    exec > >(sed -u "s#$work#.#g; s#$shared#shared#g; s#--from files/#--from #") 2>&1
}

row() {
    local expected=$1 status
    shift
    rows=$((rows + 1))
    printf '\n$ %s\n' "$*"
    eval "$*" 2> stderr.txt
    status=$?
    grep -vE '^nc: [^:]+: [0-9,]+( of [0-9,]+)? ' stderr.txt
    if [ "$status" -ne "$expected" ]; then
        bad=$((bad + 1))
        printf '!! exit %d, expected %d\n' "$status" "$expected"
    fi
}

end_of_rows() {
    printf '\n%d commands, %d with another exit code than expected\n' "$rows" "$bad"
    exit "$((bad > 0))"
}
