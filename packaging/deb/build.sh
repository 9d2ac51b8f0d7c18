#!/bin/bash
# Packs a built jaga into a Debian package: `build.sh BINARY OUTPUT-FOLDER` prints the package's path.
#
# Plain dpkg-deb over a staging tree: one binary (the rules are inside it), a unit, a conffile. Debian's own helpers
# would need a source package and thirty more packages to say the same.
set -euo pipefail
umask 022
binary=$(realpath "$1")
mkdir -p "$2"
output=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
root=$here/../..
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tree=$stage/tree

install -Dm755 "$binary" "$tree/usr/bin/jaga"
strip --strip-unneeded "$tree/usr/bin/jaga"
install -Dm644 "$root/packaging/systemd/jaga.service" "$tree/lib/systemd/system/jaga.service"
install -Dm644 "$root/packaging/systemd/older-kernel.conf" "$tree/usr/share/doc/jaga/older-kernel.conf"
install -Dm600 "$root/packaging/jaga.yaml" "$tree/etc/jaga/jaga.yaml"
install -dm755 "$tree/etc/jaga/rules"
# What the alerts' runbook_url points at. Without a configuration or rules of the building machine.
printf 'rules: %s\n' "$stage/none" >"$stage/explain.yaml"
mkdir -p "$tree/usr/share/doc/jaga/rules"
"$binary" explain --config "$stage/explain.yaml" | sed -n '/^# Measures/q; s/^\([a-z][a-z-]*\) .*/\1/p' | while read -r rule; do
    "$binary" explain --config "$stage/explain.yaml" "$rule" >"$tree/usr/share/doc/jaga/rules/$rule.md"
done
install -Dm644 "$root/README.md" "$tree/usr/share/doc/jaga/README.md"
install -Dm644 "$root/packaging/picture.svg" "$tree/usr/share/doc/jaga/packaging/picture.svg"
install -Dm644 "$here/copyright" "$tree/usr/share/doc/jaga/copyright"
printf 'jaga (%s) stable; urgency=medium\n\n  * Release.\n\n -- jaga maintainers <maintainers@jaga.invalid>  %s\n' \
    "$version" "$(date -R -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")" | gzip -9n >"$stage/changelog.gz"
install -Dm644 "$stage/changelog.gz" "$tree/usr/share/doc/jaga/changelog.gz"
if [ -d "$root/packaging/prometheus" ]; then
    mkdir -p "$tree/usr/share/jaga"
    cp -r "$root/packaging/prometheus" "$tree/usr/share/jaga/"
    chmod -R u=rwX,go=rX "$tree/usr/share/jaga"
fi

# dpkg-shlibdeps reads the binary and answers with the packages that hold its libraries; it wants a debian/control.
mkdir -p "$stage/shlibs/debian"
printf 'Source: jaga\n\nPackage: jaga\nArchitecture: any\n' >"$stage/shlibs/debian/control"
depends=$(cd "$stage/shlibs" && dpkg-shlibdeps -O "$tree/usr/bin/jaga" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')

mkdir "$tree/DEBIAN"
for script in postinst prerm postrm; do install -m755 "$here/$script" "$tree/DEBIAN/$script"; done
echo /etc/jaga/jaga.yaml >"$tree/DEBIAN/conffiles"
(cd "$tree" && find usr lib -type f -exec md5sum {} +) >"$tree/DEBIAN/md5sums"
cat >"$tree/DEBIAN/control" <<END
Package: jaga
Version: $version
Architecture: $architecture
Maintainer: jaga maintainers <maintainers@jaga.invalid>
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: $depends
Recommends: prometheus
Section: net
Priority: optional
Description: watches medical data stores and what leaves the host
 jaga sees who reads the lab, EKG and radiology stores of a data server and
 what is sent to other hosts. It joins the two and raises an alert through
 Prometheus and Alertmanager: who took how much of which store, about how many
 patients' records that is, and where it went.
END
package=$output/jaga_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
echo "$package"
