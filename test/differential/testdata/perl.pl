#!/usr/bin/perl
# Files, locks, pipes, signals and sockets of perl's.
use strict;
use warnings;
use Cwd;
use Fcntl qw(:DEFAULT :flock :mode);
use File::Copy;
use File::Find;
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempfile tempdir);
use IO::Select;
use IO::Socket::UNIX;
use POSIX qw(:sys_wait_h mkfifo);

$| = 1;
my ($f, $name) = tempfile('temporary.XXXXXX', UNLINK => 1);
print $f "hi\n";
close $f;
open($f, '<', $name) or die;
print <$f>;
make_path('x/y/z', { mode => 0750 });
for my $i (1 .. 100) { open(my $o, '>', "x/$i") or die; print $o $i; }
my $size = 0;
find({ no_chdir => 1, wanted => sub { $size += -s $_ if -f } }, 'x');
find(sub { $size += -s $_ if -f }, 'x');
print "size $size\n";
for my $c (['missing', 'no/such', O_RDONLY], ['exclusive', 'x/1', O_WRONLY | O_CREAT | O_EXCL], ['directory', 'x', O_WRONLY], ['made', 'made', O_RDWR | O_CREAT, 0604]) {
	print "$c->[0]: ", (sysopen(my $h, $c->[1], $c->[2], $c->[3] // 0666) ? 'opened' : $!), "\n";
}
mkfifo('fifo', 0600) or die;
my $pid = fork;
if (!$pid) { open(my $w, '>', 'fifo') or die; print $w "through a fifo\n"; close $w; POSIX::_exit(3); }
open(my $r, '<', 'fifo') or die $!;
print <$r>;
waitpid($pid, 0);
print 'child ', $? >> 8, "\n";
my @kids;
for my $i (1 .. 6) {
	my $kid = fork;
	if (!$kid) {
		for (1 .. 20) {
			open(my $c, '+<', 'made') or POSIX::_exit(1);
			flock($c, LOCK_EX);
			my $n = <$c> // 0;
			seek($c, 0, 0);
			print $c $n + 1;
			close $c;
		}
		POSIX::_exit(0);
	}
	push @kids, $kid;
}
waitpid($_, 0), print "kid $?\n" for @kids;
open($f, '<', 'made');
print 'counted ', <$f>, "\n";
print `echo from a shell`, $?, "\n";
open(my $p, '-|', 'cat', 'x/7') or die;
print <$p>, "\n";
open($p, '|-', 'wc -c') or die;
print $p 'four';
close $p;
{
	local $SIG{ALRM} = sub { die "alarm\n" };
	eval { alarm 1; open(my $h, '<', 'fifo'); alarm 0; };
	print "waiting ended by: $@";
}
my $server = IO::Socket::UNIX->new(Local => 'sock', Listen => 5) or die;
if (!($pid = fork)) {
	my $c = IO::Socket::UNIX->new(Peer => 'sock') or POSIX::_exit(1);
	print $c "through a socket\n";
	POSIX::_exit(0);
}
my $c = $server->accept;
print <$c>;
waitpid($pid, 0);
copy('x/9', 'copied') and move('copied', 'moved') and print -s 'moved', "\n";
chdir 'x/y' and open($f, '<', '../8') and print <$f>, ' ', (getcwd =~ m{x/y$} ? 'there' : getcwd), "\n";
chdir '../..';
my $dir = tempdir(CLEANUP => 1);
open(my $dup, '>&', \*STDOUT);
print $dup "duplicate\n";
opendir(my $d, 'x');
print scalar(readdir $d) ? "read\n" : "empty\n";
open(my $anon, '+>', undef);
print $anon 'anonymous';
seek($anon, 0, 0);
print <$anon>, "\n";
remove_tree('x/y');
system 'sh', '-c', 'exit 9';
exit $? >> 8;
