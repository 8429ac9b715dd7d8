# icicle.pl TITLE REQUESTS <CALLGRIND >SVG: a function's box is as wide as what it and all below it cost. What a function that has
# several callers costs below each of them is divided as its calls' costs are.
use strict;
use warnings;

my ($title, $requests) = @ARGV;
my (%names, %files, %self, %calls, %total, %ours, $fn, $callee, $file);

sub name {
	my ($table, $text) = @_;
	my ($id, $name) = $text =~ /^\((\d+)\)(?: (.*))?$/ or return $text;
	$table->{$id} = $name if defined $name;
	return $table->{$id};
}

while (<STDIN>) {
	chomp;
	if (/^fl=(.*)/) { $file = name(\%files, $1) }
	elsif (/^(?:fi|fe|cfi|cfl)=(.*)/) { name(\%files, $1) }
	elsif (/^fn=(.*)/) { $fn = name(\%names, $1); $ours{$fn} = 1 if $file =~ m{^(?:\./)?(?:devices|common)/} }
	elsif (/^cfn=(.*)/) { $callee = name(\%names, $1) }
	elsif (/^calls=/) { my $cost = (split ' ', <STDIN>)[1]; $calls{$fn}{$callee} += $cost }
	elsif (/^[+\-*\d]\S* (\d+)$/) { $self{$fn} += $1 }
}
for my $from (keys %self, keys %calls) {
	$total{$from} = ($self{$from} // 0);
	$total{$from} += $_ for values %{$calls{$from} // {}};
}

my ($width, $row, $deepest, $root, @boxes) = (1000, 18, 0, 'loop_step');
my $whole = $total{$root} or die "nothing was counted\n";

sub box {
	my ($name, $x, $depth, $cost, %above) = @_;
	return if $cost / $whole * $width < 4 || $above{$name};
	my $share = $cost / ($total{$name} || $cost);
	my $at = $x;
	$deepest = $depth if $depth > $deepest;
	push @boxes, [$name, $x, $depth, $cost, ($self{$name} // 0) * $share];
	for my $next (sort { $calls{$name}{$b} <=> $calls{$name}{$a} || $a cmp $b } keys %{$calls{$name} // {}}) {
		my $part = $calls{$name}{$next} * $share;
		box($next, $at, $depth + 1, $part, %above, $name => 1);
		$at += $part;
	}
}
box($root, 0, 0, $whole);

printf qq{<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">\n},
	$width + 20, ($deepest + 1) * $row + 40;
printf qq{<text x="10" y="18" font-size="13">%s, batches of 32: %.0f instructions each in the device's thread. }
	. qq{Blue: ours; grey: libraries</text>\n}, $title, $whole / $requests;
for (@boxes) {
	my ($name, $x, $depth, $cost, $own) = @$_;
	my ($left, $w) = (10 + $x / $whole * $width, $cost / $whole * $width);
	my $short = $name =~ s/@@.*//r;
	$short =~ s/&/&amp;/g; $short =~ s/</&lt;/g;
	printf qq{<g><title>%s: %.1f%%, itself %.1f%%</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" stroke="white"/>},
		$short, 100 * $cost / $whole, 100 * $own / $whole, $left, 30 + $depth * $row, $w, $row, $ours{$name} ? '#9ecae1' : '#d9d9d9';
	my $room = int(($w - 6) / 6.2);
	printf qq{<text x="%.1f" y="%d">%s</text>}, $left + 3, 43 + $depth * $row, substr($short, 0, $room) if $room > 2;
	print "</g>\n";
}
print "</svg>\n";
