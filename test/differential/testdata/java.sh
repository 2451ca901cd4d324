#!/bin/sh
# -XX:-UsePerfData: no files in /tmp that are named by pid.
javac -J-XX:-UsePerfData -J-XX:TieredStopAtLevel=1 -d classes "$TESTDATA/Program.java" || exit
java -XX:-UsePerfData -XX:TieredStopAtLevel=1 -Xshare:auto -cp classes Program
echo $?
(cd classes && jar -J-XX:-UsePerfData cfM ../program.jar . && cd .. && java -XX:-UsePerfData -cp program.jar Program brief)
echo $?
rm program.jar # it has times in it
