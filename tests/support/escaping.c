/* Program that tries to outlive its session: `escaping MARK SECONDS CHAINS`.
 *
 * Begins CHAINS chains of processes, each of which forks, leaves its session and group, and exits; then it stays, as an
 * honest program, until its input ends. MARK is found in the command line of each process. The chains end by
 * themselves after SECONDS.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count != 4) return 2;
    time_t ends = time(NULL) + atoi(words[2]);
    for (int chain = 0; chain < atoi(words[3]); chain++) {
        if (fork() == 0) {
            for (int stream = 0; stream < 3; stream++) close(stream); /* nobody is to wait for the end of our output */
            while (time(NULL) < ends) {
                if (fork()) _exit(0);
                setsid();
            }
            _exit(0);
        }
    }
    if (write(1, "ready\n", 6) < 0) return 1;
    char said[100];
    while (read(0, said, sizeof said) > 0) continue;
    return 0;
}
